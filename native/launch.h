/*
 * Run one program, once, under one filter: what shim-launch, the Python
 * extension and the first process of a machine share.
 */
#ifndef SHIM_LAUNCH_H
#define SHIM_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#include "bpf.h"
#include "plan.h"

#define LAUNCH_REASON_SIZE 256
#define LAUNCH_CHILD_STACK (30 << 10)
#define LAUNCH_CHUNK (64 << 10)
#define LAUNCH_WATCHED 2
#define LAUNCH_TIMED_OUT 124
#define LAUNCH_FAILED 125	/* before the program ran */
#define LAUNCH_CANNOT_EXECUTE 126
#define LAUNCH_NOT_FOUND 127

enum launch_option {
	LAUNCH_HIDE = 1 << 0,		/* make the launcher non-dumpable */
	LAUNCH_JOB_CONTROL = 1 << 1,	/* stop when the program stops */
	/* The process exists for this launch, has no other children that
	 * matter, and exits next: what exit gives back is left to it. */
	LAUNCH_OWN_PROCESS = 1 << 2,
};

/* What of the plan's Landlock rules this kernel does not handle. */
enum launch_unconfined {
	LAUNCH_FILES = 1 << 0,		/* some rights on files, or all */
	LAUNCH_NETWORK = 1 << 1,
	LAUNCH_SCOPES = 1 << 2,		/* signals and abstract sockets */
};

/* One call that the filter refused; numbers only, names are others' work. */
struct launch_violation {
	uint64_t time_ns;	/* CLOCK_REALTIME */
	uint64_t address;	/* of the instruction after the call */
	uint64_t arguments[6];
	int32_t pid;		/* the thread's, as the launcher sees it */
	int32_t syscall;
	uint32_t arch;		/* AUDIT_ARCH_* */
	uint32_t stage;		/* boundaries that the program had passed */
};

/* Called on the launching thread, before the offender is killed. */
typedef void launch_on_violation(void *context,
				 const struct launch_violation *violation);

struct launch_result {
	int32_t exit_code;	/* as a shell sees it: native/README.md */
	int32_t status;		/* the program's own, if it exited */
	int32_t signal;		/* that ended it, SIGSYS for a violation, or 0 */
	int32_t pid;
	int32_t violation;	/* 1 if a refused call ended it */
	int32_t unsealed;	/* 1 if the kernel has no mseal */
	int32_t gains_exec;	/* 1 if the kernel has no PR_SET_MDWE */
	uint32_t unconfined;	/* enum launch_unconfined: what Landlock lacks here */
	int32_t timed_out;	/* 1 if the plan's time ended it */
	int32_t out_of_memory;	/* 1 if its cgroup's limit ended a process of it */
	int32_t stages;		/* boundaries that the program passed */
	int32_t missed;		/* -errno why it did not pass the next, or 0 */
	int32_t abandoned;	/* 1 if who watches beside it ended it */
	uint64_t reported;	/* refused calls */
	int32_t error;		/* errno of the failed step, or 0 */
	const char *step;	/* that failed, or null: then the program ran */
	char reason[LAUNCH_REASON_SIZE];	/* empty: errno says it */
};

/*
 * What a launch needs besides the plan; its contents mean nothing before.
 * Touching a page for the first time costs 2 us, so what most launches touch
 * lies together: the start of the first part with what the caller has before
 * it, the used end of the stack with what the caller has behind.
 */
struct launch_memory {
	union {		/* before the child, until it execs, after that */
		struct bpf_state states[PLAN_MAX_FILTER];
		char *strings[2 * (PLAN_MAX_STRINGS + 1)]; /* argv, environment */
		uint8_t chunk[LAUNCH_CHUNK];
	};
	uint8_t child_stack[LAUNCH_CHILD_STACK] __attribute__((aligned(16)));
	/* the filter as this process gets it, if the plan relocates any of it */
	uint8_t filter[PLAN_MAX_FILTER * PLAN_INSTRUCTION_SIZE];
	uint64_t objects[PLAN_MAX_OBJECTS];	/* how far each was moved */
};

/* Files that the first process of a machine gives to the program, and its own
 * beside it.  A file of -1 is none. */
struct launch_machine {
	int streams[3];		/* the program's standard input, output, error */
	int secret;		/* becomes PLAN_SECRET_FILE */
	int watched[LAUNCH_WATCHED];	/* polled for reading while it runs */
	/* One of them has something; returns 0, or anything else and the
	 * program ends. */
	int (*attend)(void *context, size_t which);
};

/*
 * Run the program of PLAN and wait for its end.  Returns 0 if it ran, -1 with
 * the failing step in RESULT if it did not.  On every path its process is
 * reaped, and but for LAUNCH_OWN_PROCESS all files are closed, and the calling
 * thread has its signal mask and its CPUs back.  ON_VIOLATION may be null.  A plan
 * that asks something of a machine is refused.
 */
int launch(const struct plan *plan, uint32_t options,
	   launch_on_violation *on_violation, void *context,
	   struct launch_memory *memory, struct launch_result *result);

/* The same in a machine that is as the plan wants it. */
int launch_in_machine(const struct plan *plan, uint32_t options,
		      const struct launch_machine *machine,
		      launch_on_violation *on_violation, void *context,
		      struct launch_memory *memory,
		      struct launch_result *result);

#endif
