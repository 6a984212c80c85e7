/*
 * The keeper of a recorded program: a process between recorder and program, so
 * that no process of the program's tree outlives its recorder.
 */
#ifndef SHIM_KEEPER_H
#define SHIM_KEEPER_H

#include <stdint.h>

#include "uapi.h"

#define KEEPER_STACK (16 << 10)

/*
 * Recorder, keeper and, until it execs, the program share this memory and one
 * table of open files.
 */
struct keeper {
	/* The recorder's. */
	const char *program;
	char *const *argv;
	char *const *environment;
	const uint8_t *filter;	/* struct sock_filter[] */
	uint32_t filter_count;
	uint32_t job_control;	/* 1: stop the recorder when the program stops */
	uint64_t mask;		/* signals that the program starts with blocked */
	uint64_t defaults;	/* signals that it shall not inherit ignored */
	int32_t recorder;	/* a pidfd */
	int32_t children;	/* a signalfd for SIGCHLD */
	uint32_t end;		/* 1, then SIGCHLD: kill the tree */

	/* The program's, before it execs. */
	int32_t listener;	/* -1 until there is one */
	int32_t unprivileged;	/* 1 if only no_new_privs let it have one */
	const char *step;	/* that failed, or null */
	int64_t error;		/* its -errno */

	/* The keeper's. */
	int32_t self;		/* its pid */
	int32_t pid;		/* the program's */
	int32_t pidfd;		/* the program's */
	int32_t status;		/* its wait status, once ENDED */
	uint32_t ended;		/* futex: 1 once the program is reaped */

	uint8_t stack[KEEPER_STACK] __attribute__((aligned(16)));
	uint8_t program_stack[KEEPER_STACK] __attribute__((aligned(16)));
};

/*
 * Start the program and keep it until the recorder says END or dies: then kill
 * the whole tree, and exit once nothing of it is left.
 */
void keeper_main(void *keeper);

#endif
