/* What happens before the program's process exists, and that it comes to be. */
#include <limits.h>
#include <string.h>

#include "steps.h"

/* What a plan asks of a machine somebody must have done. */
int require_machine(struct launch_state *launch)
{
	if (launch->machine != NULL || !plan_has_machine(launch->plan))
		return 0;
	return refuse(launch, "the plan is for the first process of a machine, "
		      "shim-init: it has modules, a network, a host name or a "
		      "channel");
}

/* Do all ways that a call of one of NUMBERS can take end in ACTIONS? */
static int prove_numbers(struct launch_state *launch, const uint32_t *numbers,
			 size_t count, enum bpf_actions actions,
			 const char *want)
{
	static const struct bpf_range here = { ARCH_AUDIT, ARCH_AUDIT };

	for (size_t i = 0; i < count; i++) {
		struct bpf_range nr = { numbers[i], numbers[i] };
		size_t at = bpf_prove(launch->filter, launch->filter_count, nr,
				      here, actions, launch->memory->states);

		if (at != launch->filter_count)
			return refuse_instruction(launch, at, want);
	}
	return 0;
}

/*
 * Until the last boundary nobody listens: the launcher traces, and a process
 * that the program forks by then is not traced.  Such a one must not have its
 * calls let through by whoever traces it next.
 */
static int prove_traced(struct launch_state *launch)
{
	static const uint32_t exec_numbers[] = ARCH_EXEC_NUMBERS;
	static const uint32_t trace_numbers[] = ARCH_TRACE_NUMBERS;
	int error = prove_numbers(launch, exec_numbers,
				  sizeof(exec_numbers) / sizeof(uint32_t),
				  BPF_TRACED_REFUSALS,
				  "a refusal: it answers execve or execveat");

	if (error != 0)
		return error;
	return prove_numbers(launch, trace_numbers,
			     sizeof(trace_numbers) / sizeof(uint32_t),
			     BPF_TRACED_REFUSALS, "a refusal: it answers ptrace "
			     "before the last boundary");
}

/* What holds of the filter that is chosen, wherever its constants are moved. */
int prove_chosen(struct launch_state *launch, size_t stage)
{
	int last = stage == launch->plan->stage_count;
	static const uint32_t exec_numbers[] = ARCH_EXEC_NUMBERS;
	static const struct bpf_range any = { 0, UINT32_MAX };
	static const struct bpf_range here = { ARCH_AUDIT, ARCH_AUDIT };
	static const struct bpf_range elsewhere[] = {
		{ 0, ARCH_AUDIT - 1 }, { ARCH_AUDIT + 1, UINT32_MAX },
	};
	const uint8_t *filter = launch->filter;
	size_t count = launch->filter_count;
	struct bpf_state *states = launch->memory->states;
	size_t at = bpf_check(filter, count, states);

	if (at != count)
		return refuse_instruction(launch, at,
					  "one that the kernel accepts there");
	for (size_t i = 0; i < 2; i++) {
		at = bpf_prove(filter, count, any, elsewhere[i], BPF_REFUSALS,
			       states);
		if (at != count)
			return refuse_instruction(launch, at, "a refusal: it "
						  "answers another architecture");
	}
	if (!last || launch->plan->flags & PLAN_NO_EVENTS) {
		at = bpf_prove(filter, count, any, here, BPF_NO_NOTIFICATION,
			       states);
		if (at != count)
			return refuse_instruction(launch, at, "no notification: "
						  "there is no listener");
	}
	if (!last)
		return prove_traced(launch);
	if (launch->plan->flags & PLAN_EXEC_ALLOWED)
		return 0;
	return prove_numbers(launch, exec_numbers,
			     sizeof(exec_numbers) / sizeof(uint32_t),
			     BPF_REFUSALS,
			     "a refusal: it answers execve or execveat");
}

int prove_filter(struct launch_state *launch)
{
	int error = 0;

	for (size_t stage = 0; stage <= launch->plan->stage_count && error == 0;
	     stage++) {
		choose_filter(launch, stage);
		error = prove_chosen(launch, stage);
	}
	if (error == 0)
		choose_filter(launch, 0);
	return error;
}

/*
 * Point STRINGS at the COUNT strings that lie at BYTES, null at the end.
 * execve declares them as changeable but does not change them (POSIX,
 * "exec", rationale), so taking the const away is harmless.
 */
static void point_at_strings(char **strings, const char *bytes, size_t count)
{
	union {
		const char *read_only;
		char *unchanged;
	} string = { bytes };

	for (size_t i = 0; i < count; i++) {
		strings[i] = string.unchanged;
		string.read_only += strlen(string.read_only) + 1;
	}
	strings[count] = NULL;
}

int lay_out_strings(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;

	launch->child.argv = launch->memory->strings;
	launch->child.environment = launch->memory->strings + plan->argc + 1;
	point_at_strings(launch->child.argv, plan->argv, plan->argc);
	point_at_strings(launch->child.environment, plan->environment,
			 plan->environment_count);
	return 0;
}

int block_signals(struct launch_state *launch)
{
	static const uint64_t all = UINT64_MAX;
	long error = sys_sigmask(2 /* SIG_SETMASK */, &all, &launch->mask);

	if (error < 0)
		return (int)error;
	launch->masked = 1;
	return 0;
}

/* A process that ignores SIGCHLD has its children reaped by the kernel. */
int require_child_status(struct launch_state *launch)
{
	struct uapi_sigaction action;
	long error = sys_sigaction(17 /* SIGCHLD */, NULL, &action);

	if (error < 0)
		return (int)error;
	if (action.handler == UAPI_SIG_IGN || action.flags & UAPI_SA_NOCLDWAIT)
		return refuse(launch, "SIGCHLD is ignored, so that the program's "
			      "exit status would be lost");
	return 0;
}

/*
 * While the program is held, launcher and program take turns: on two CPUs each
 * turn costs a wake-up of the other.  The child inherits the narrowed set.
 */
int share_one_cpu(struct launch_state *launch)
{
	unsigned long one[CPU_WORDS] = { 0 };
	unsigned cpu;
	long size = sys_getaffinity(0, launch->cpus, sizeof(launch->cpus));
	long error;

	if (size < 0)
		return (int)size;
	error = sys3(SYS_getcpu, (long)&cpu, 0, 0);
	if (error < 0)
		return (int)error;
	one[cpu / (CHAR_BIT * sizeof(long))] =
		1UL << cpu % (CHAR_BIT * sizeof(long));
	if (memcmp(one, launch->cpus, (size_t)size) == 0)
		return 0; /* it has no other */
	error = sys_setaffinity(0, one, (size_t)size);
	if (error < 0)
		return (int)error;
	launch->cpus_size = (size_t)size;
	return 0;
}

/* On every path: the launcher's.  Before the release: the program's too. */
int return_cpus(struct launch_state *launch)
{
	size_t size = launch->cpus_size;
	long error = 0;
	long own;

	if (size == 0)
		return 0;
	if (!launch->ended && launch->pid > 0)
		error = sys_setaffinity(launch->pid, launch->cpus, size);
	own = sys_setaffinity(0, launch->cpus, size);
	launch->cpus_size = 0;
	return (int)(own < 0 ? own : error);
}

/*
 * The child runs in the launcher's memory on a stack of its own until it execs:
 * copying the page tables of a Python process costs more than the whole launch.
 * Its exit signal is SIGCHLD as execve would make it anyway.
 */
int spawn_child(struct launch_state *launch)
{
	struct child *child = &launch->child;
	struct uapi_clone_args arguments = {
		.flags = UAPI_CLONE_VM | UAPI_CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&launch->pidfd,
		.exit_signal = 17 /* SIGCHLD */,
		.stack = (uint64_t)(uintptr_t)launch->memory->child_stack,
		.stack_size = sizeof(launch->memory->child_stack),
	};
	long pid;

	if (launch->cgroup >= 0) {
		arguments.flags |= UAPI_CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)launch->cgroup;
	}
	child->plan = launch->plan;
	pid = arch_spawn(&arguments, sizeof(arguments), child_main, child);
	if (pid < 0)
		return (int)pid;
	launch->pid = launch->thread = (int)pid;
	return 0;
}

/* What a system administrator set kernel.yama.ptrace_scope to, or 0. */
static char yama_scope(void)
{
	char scope = '0';
	long fd = sys_open("/proc/sys/kernel/yama/ptrace_scope",
			   02000000 /* O_RDONLY | O_CLOEXEC */);

	if (fd < 0)
		return scope;
	(void)!sys_read((int)fd, &scope, 1); /* else it stays as it is */
	sys_close((int)fd);
	return scope;
}

int seize_child(struct launch_state *launch)
{
	enum { NO_PERMISSION = -1, NO_SUCH_CALL = -38 };
	int error = (int)sys_ptrace(UAPI_PTRACE_SEIZE, launch->pid, 0,
				    (void *)(UAPI_PTRACE_O_EXITKILL |
					     UAPI_PTRACE_O_TRACEEXEC |
					     UAPI_PTRACE_O_TRACESYSGOOD));

	if (error != NO_PERMISSION && error != NO_SUCH_CALL)
		return error;
	return refuse(launch, yama_scope() >= '2' ?
		      "ptrace is forbidden: kernel.yama.ptrace_scope is 2 or 3" :
		      "ptrace is forbidden: by the seccomp filter of a container "
		      "or of another launch, or this kernel has none");
}

int hide_launcher(struct launch_state *launch)
{
	if (!(launch->options & LAUNCH_HIDE))
		return 0;
	return (int)sys_prctl(UAPI_PR_SET_DUMPABLE, 0, 0);
}
