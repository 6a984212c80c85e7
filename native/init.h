/* The launcher as the first process of a machine: what comes before and after. */
#ifndef SHIM_INIT_H
#define SHIM_INIT_H

#include "launch.h"
#include "text.h"

#define INIT_PLAN "/shim/plan"

/* Is this process the init of a machine that nobody has prepared?  Post: if so,
 * Ctrl-Alt-Del restarts nothing any more. */
int init_is_due(void);

/* Post: standard streams are open, file systems mounted.  Returns 0, or -errno
 * and in STEP what failed. */
long init_prepare(const char **step);

/* Post: the loopback is up, unless nothing of PLAN can have a socket: it is a
 * sixth of the time that an emulated machine takes to start a program.
 * Pre: STATES has PLAN_MAX_FILTER elements.  Returns 0 or -errno. */
long init_raise_loopback(const struct plan *plan, struct bpf_state *states);

/* Post: what PLAN needs beyond that is mounted.  Returns and STEP likewise. */
long init_mount_for(const struct plan *plan, const char **step);

/* Adds how the launch ended, in words; nothing if the program just ended. */
void init_describe_end(struct text *text, const struct launch_result *result);

/* Says on standard error how the launch ended, and powers the machine off. */
_Noreturn void init_end(const struct launch_result *result);

/* The same, but without a RESULT says nothing of how. */
_Noreturn void init_power_off(const struct launch_result *result);

#endif
