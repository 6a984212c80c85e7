/*
 * shim-launch PLAN: the launcher as a program of its own.  As the first process
 * of a machine it takes no arguments: the plan is the image's.
 */
#include <string.h>

#include "faults.h"
#include "file.h"
#include "init.h"
#include "launch.h"
#include "say.h"
#include "sha256.h"
#include "sys.h"
#include "text.h"

/*
 * The linker puts common storage behind libc's variables, so that .data, those
 * and what is first used of this share a page.
 */
struct room {
	struct launch_memory memory;
	uint8_t plan[PLAN_MAX_SIZE + 1];
	char arguments[PLAN_MAX_APPENDED];
};
struct room room __attribute__((common));

static void report(void *context, const struct launch_violation *violation)
{
	char line[SAY_LINE_SIZE];
	size_t size = say_violation(line, violation);

	(void)context; /* standard error is all there is */
	line[size++] = '\n';
	sys_write(2, line, size);
}

/* MORE are COUNT arguments for the program behind those of the plan.  Returns 0,
 * or -1 after it has said why. */
static int take_plan(const char *path, char *const *more, size_t count,
		     struct plan *plan)
{
	struct plan_fault fault;
	long size = file_read(path, room.plan, sizeof(room.plan));

	if (size < 0) {
		say("read-plan", strerror((int)-size));
		return -1;
	}
	if (plan_read(room.plan, (size_t)size, plan, &fault) != 0 ||
	    plan_append(plan, more, count, room.arguments, &fault) != 0) {
		say_found(fault.where, fault.found, fault.want);
		return -1;
	}
	return 0;
}

/* Pre: RESULT is that of a failed launch, which it stays until there is one. */
static void run(const struct plan *plan, struct launch_result *result)
{
	static const struct uapi_sigaction standard; /* SIG_DFL */
	static const uint64_t all = UINT64_MAX;

	sha256_try_cpu();
	/* Whoever started us may ignore SIGCHLD, and a launcher cannot.  Signals
	 * stay blocked to the end: one that comes after the program's must not
	 * take its exit code away. */
	if (sys_sigaction(17 /* SIGCHLD */, &standard, NULL) < 0 ||
	    sys_sigmask(2 /* SIG_SETMASK */, &all, NULL) < 0) {
		say("block-signals", "a filter around the launcher forbids it");
		return;
	}
	(void)launch(plan, LAUNCH_HIDE | LAUNCH_JOB_CONTROL |
		     LAUNCH_OWN_PROCESS, report, NULL, &room.memory, result);
	say_lacks(result);
	say_trouble(result);
}

#ifdef SHIM_FAULTS
static const char *fault = "";
static const char *fault_step = "";
static long fault_errno;
static long fault_left;	/* calls until the one that fails */

void fault_point(const char *step, int pid)
{
	if (strcmp(step, fault_step) != 0)
		return;
	if (strcmp(fault, "die") == 0)
		sys2(SYS_kill, sys0(SYS_getpid), 9 /* SIGKILL */);
	else if (pid != 0)
		sys2(SYS_kill, pid, 19 /* SIGSTOP */);
}

static void say_fault_number(const char *words, uint64_t number)
{
	char line[64];
	struct text text = { line, sizeof(line), 0 };

	text_add(&text, words);
	text_add_decimal(&text, number);
	text_add(&text, "\n");
	sys_write(2, line, text.size);
}

long fault_call(long nr)
{
	/* Neither can be answered by anything but itself. */
	if (fault_errno == 0 || nr == SYS_exit_group || nr == SYS_write)
		return 0;
	if (fault_left-- != 0)
		return 0;
	say_fault_number("fault: call ", (uint64_t)nr);
	return -fault_errno;
}

static long parse_decimal(const char *text)
{
	long value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (*text - '0');
	return value;
}
#endif

/* Neither ARGV nor the environment is looked at: they are the kernel's command
 * line, and a machine's owner need not be the owner of the program. */
static _Noreturn void run_machine(struct launch_result *result)
{
	struct plan plan;
	const char *step;
	long error = init_prepare(&step);

	if (error == 0) {
		if (take_plan(INIT_PLAN, NULL, 0, &plan) != 0)
			init_end(result);
		step = "raise-loopback";
		error = init_raise_loopback(&plan, room.memory.states);
	}
	if (error < 0)
		say(step, strerror((int)-error));
	else
		run(&plan, result);
	init_end(result);
}

int main(int argc, char **argv)
{
	struct launch_result result = {
		.exit_code = LAUNCH_FAILED, .step = "start",
	};
	struct plan plan;

	if (init_is_due())
		run_machine(&result);
#ifdef SHIM_FAULTS
	if (argc == 4) {
		fault = argv[1];
		fault_step = argv[2];
		fault_left = parse_decimal(argv[2]);
		fault_errno = parse_decimal(argv[1]);
		argv += 2;
		argc = 2;
	}
#endif
	if (argc < 2) {
		say("usage", "shim-launch PLAN [ARGUMENT...]; arguments for "
		    "plans that take any");
		return LAUNCH_FAILED;
	}
	if (take_plan(argv[1], argv + 2, (size_t)argc - 2, &plan) == 0)
		run(&plan, &result);
#ifdef SHIM_FAULTS
	if (fault_errno != 0 && fault_left >= 0)
		say_fault_number("fault: never ", (uint64_t)fault_left);
#endif
	sys_exit(result.exit_code); /* nothing for libc to flush or to undo */
}
