/*
 * Which calls does a program make?  A filter reports each call of the program
 * and of all its descendants; the recorder counts it and lets it go on.
 *
 * The caller drives: record_serve() handles calls until something comes up that
 * takes words or a decision, says what, and is called again.
 */
#ifndef SHIM_RECORD_H
#define SHIM_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "keeper.h"
#include "tally.h"

#define RECORD_THREADS 4096
#define RECORD_SITES 8192

enum record_event {
	RECORD_FAILED = -1,	/* STEP and ERROR say how */
	RECORD_THREAD = 1,	/* answer with record_thread() */
	RECORD_SITE,		/* answer with record_site() */
	RECORD_SIGNAL,		/* SIGNALS is readable */
	RECORD_TIMER,		/* what record_arm() set has passed */
	RECORD_PROGRAM,		/* the program has ended; others may live on */
	RECORD_END,		/* nothing is left that could make a call */
};

/* What a number means to the recorder; bits 0 to 5: keep that argument. */
enum record_attention {
	RECORD_EXECS = 1 << 6,	/* what the process runs may change */
	RECORD_MAPS = 1 << 7,	/* it maps code if argument 2 has PROT_EXEC */
};

/* What was true of a thread when it was last looked at. */
struct record_thread {
	uint64_t space;		/* equal where the same code is mapped alike */
	uint64_t epoch;		/* RECORDER's at that time */
	int32_t tid;		/* 0: nobody */
	int32_t leader;		/* its process */
	uint32_t site;		/* of all its calls, or 0: each has its own */
	uint32_t uses;		/* calls since */
	uint32_t doubt;		/* looks that are still due at every call */
	uint32_t reserved;	/* 0 */
};

struct record_site {
	uint64_t space;
	uint64_t address;
	uint32_t site;		/* 0: nothing is known */
	uint32_t reserved;	/* 0 */
};

/* All zeros, but for the keeper's first fields and ATTENTION. */
struct recorder {
	uint8_t attention[TALLY_NUMBERS];
	uint64_t terminal_signals;	/* a bit each */
	int32_t signals;	/* a signalfd for all signals but three */
	int32_t timer;
	int32_t error;		/* errno of the step that failed */
	const char *step;

	/* The call in hand. */
	int32_t pending;
	int32_t thread;		/* that makes it */
	uint32_t slot;		/* of THREADS that it has */
	uint64_t address;	/* of the instruction after it */

	uint64_t calls;		/* let on */
	uint64_t unseen;	/* ended by a signal before they were received */
	int32_t started;	/* 1 once the program's exec has succeeded */

	int32_t keeper_pid;
	int32_t keeper_pidfd;
	int32_t own_pidfd;
	int32_t awaited;	/* the program's pidfd until it ended, then -1 */
	int32_t masked;
	uint64_t mask;		/* of the calling thread */
	uint64_t epoch;		/* raised when mappings may have changed */
	struct uapi_seccomp_notif call;

	struct keeper keeper;
	struct record_thread threads[RECORD_THREADS];
	struct record_site sites[RECORD_SITES];
	struct tally tally;
};

/*
 * Start the program.  All signals of the calling thread are blocked from now on
 * until record_end(), which is to be called whatever this returns: 0 or
 * RECORD_FAILED.
 */
int record_start(struct recorder *recorder);

/* Handle calls until an event.  Returns a record_event. */
int record_serve(struct recorder *recorder);

/*
 * The thread in hand runs code mapped as SPACE says, in the process LEADER; a
 * SITE that is not 0 stands for all its calls, whose arguments are not kept.
 */
void record_thread(struct recorder *recorder, int32_t leader, uint64_t space,
		   uint32_t site);

/* The call in hand comes from SITE, which is not 0. */
void record_site(struct recorder *recorder, uint32_t site);

/* Ask for RECORD_TIMER in that time, or never if it is 0: 0 or -errno. */
int record_arm(struct recorder *recorder, uint64_t nanoseconds);

/* Send the program a signal.  Returns 0 or -errno. */
int record_kill(struct recorder *recorder, int signal);

/* Kill what is left of the tree, give back signals and files; repeatable. */
void record_end(struct recorder *recorder);

/* For the two files of this: note what failed, and return RECORD_FAILED. */
int record_failed(struct recorder *recorder, const char *step, long error);

#endif
