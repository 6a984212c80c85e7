/* An attack says how it ended: `blocked` if it failed, `breached` if it did not. */
#ifndef HOSTILE_H
#define HOSTILE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline int verdict(long got)
{
	puts(got == -1 ? "blocked" : "breached");
	return 0;
}

#endif
