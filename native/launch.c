/*
 * The launch: one straight list of steps, none of them optional, none undone.
 * A step that fails ends the child, which then never ran an instruction of the
 * program.
 */
#include "launch.h"

#include <string.h>

#include "faults.h"
#include "steps.h"

static const struct step steps[] = {
	/* What the plan alone decides comes before anything is started. */
	{ "require-machine", require_machine },
	{ "prove-filter", prove_filter },
	{ "lay-out-strings", lay_out_strings },
	/* The child inherits these two; a signal between fork and exec would
	 * otherwise end it in a way that looks like the program's own end. */
	{ "block-signals", block_signals },
	{ "require-child-status", require_child_status },
	{ "share-one-cpu", share_one_cpu },
	/* The child is born into it. */
	{ "make-cgroup", make_cgroup },
	{ "start-init", start_init },
	{ "enter-pid-namespace", enter_pid_namespace },
	{ "spawn-child", spawn_child },
	{ "leave-pid-namespace", leave_pid_namespace },
	/* From here on the launcher's death kills the child.  Before the child
	 * drops privileges: afterwards the tracer might not be allowed to. */
	{ "seize-child", seize_child },
	{ "exec", let_child_exec },
	/* Only now: the child shared this memory, and an ordinary user can
	 * neither seize nor map the users of who is not dumpable. */
	{ "hide-launcher", hide_launcher },
	{ "reach-first-instruction", reach_first_instruction },
	{ "measure-file", measure_file },
	{ "check-stack", check_stack },
	{ "find-gate", find_gate },
	{ "find-moved", find_moved },
	{ "try-breakpoint", try_breakpoint },
	/* Proves the filter again, as the program will have it. */
	{ "relocate-filter", relocate_filter },
	/* Calls of the launcher's own come before the filter refuses them. */
	{ "seal-program", seal_program },
	{ "refuse-exec-gain", refuse_exec_gain },
	{ "lend-filter", lend_filter },
	{ "install-filter", install_filter },
	{ "take-listener", take_listener },
	{ "close-listener", close_listener },
	{ "restore-program", restore_program },
	{ "return-cpus", return_cpus },
	{ "let-go", let_go },
	{ "supervise", supervise },
};

/* The exit code of a failed exec, as env(1) and shells have it. */
static int exec_exit_code(long error)
{
	enum { NO_ENTRY = -2, NOT_A_DIRECTORY = -20 };

	return error == NO_ENTRY || error == NOT_A_DIRECTORY ?
		       LAUNCH_NOT_FOUND : LAUNCH_CANNOT_EXECUTE;
}

static void report_failure(struct launch_state *launch, const char *step,
			   int outcome)
{
	struct launch_result *result = launch->result;

	result->exit_code = LAUNCH_FAILED;
	result->step = launch->within != NULL ? launch->within : step;
	result->error = outcome < 0 ? -outcome : 0;
	if (launch->child.step == NULL)
		return;
	result->step = launch->child.step;
	result->error = (int32_t)-launch->child.error;
	result->reason[0] = 0;
	if (strcmp(result->step, "exec") == 0)
		result->exit_code = exec_exit_code(launch->child.error);
}

static void report_end(struct launch_state *launch)
{
	struct launch_result *result = launch->result;
	int signal = launch->status & 0x7f;

	result->status = launch->status >> 8 & 0xff;
	result->signal = result->violation ? 31 /* SIGSYS */ : signal;
	result->exit_code = result->timed_out ? LAUNCH_TIMED_OUT :
			    result->signal ? 128 + result->signal :
					     result->status;
	if (result->signal)
		result->status = 0;
}

static void give_back(struct launch_state *launch)
{
	/* The last close of a listener frees the filter: 15 us that exit
	 * spends when nobody waits any more. */
	if (launch->options & LAUNCH_OWN_PROCESS)
		return;
	if (launch->listener >= 0)
		sys_close(launch->listener);
	if (launch->pidfd >= 0)
		sys_close(launch->pidfd);
	if (launch->cpus_size > 0)
		(void)return_cpus(launch); /* the launch has failed already */
	if (launch->masked)
		sys_sigmask(2 /* SIG_SETMASK */, &launch->mask, NULL);
}

int launch_in_machine(const struct plan *plan, uint32_t options,
		      const struct launch_machine *machine,
		      launch_on_violation *on_violation, void *context,
		      struct launch_memory *memory,
		      struct launch_result *result)
{
	struct launch_state launch;
	const char *failed = NULL;
	int outcome = 0;

	/* Not one initializer: the CPU mask is large and needs no zeros. */
	memset(result, 0, sizeof(*result));
	memset(&launch, 0, offsetof(struct launch_state, cpus));
	launch.plan = plan;
	launch.memory = memory;
	launch.result = result;
	launch.on_violation = on_violation;
	launch.context = context;
	launch.options = options;
	launch.machine = machine;
	launch.child.machine = machine;
	launch.pidfd = -1;
	launch.listener = -1;
	launch.cgroup_parent = -1;
	launch.cgroup = -1;
	launch.child.launcher = (int)sys0(SYS_getpid);
	launch.cpus_size = 0;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		fault_point(steps[i].name, launch.pid);
		outcome = steps[i].run(&launch);
		if (outcome == 0)
			continue;
		failed = steps[i].name;
		break;
	}
	if (failed != NULL) {
		end_program(&launch);
		(void)leave_pid_namespace(&launch); /* it has failed already */
	}
	end_init(&launch);
	end_cgroup(&launch);
	give_back(&launch);
	result->pid = launch.pid;
	result->unconfined = launch.child.unconfined;
	if (failed != NULL)
		report_failure(&launch, failed, outcome);
	else
		report_end(&launch);
	return failed == NULL ? 0 : -1;
}

int launch(const struct plan *plan, uint32_t options,
	   launch_on_violation *on_violation, void *context,
	   struct launch_memory *memory, struct launch_result *result)
{
	return launch_in_machine(plan, options, NULL, on_violation, context,
				 memory, result);
}
