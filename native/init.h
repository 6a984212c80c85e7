/* The launcher as the first process of a machine: what comes before and after. */
#ifndef SHIM_INIT_H
#define SHIM_INIT_H

#include "launch.h"

#define INIT_PLAN "/shim/plan"

/* Is this process the init of a machine that nobody has prepared?  Post: if so,
 * Ctrl-Alt-Del restarts nothing any more. */
int init_is_due(void);

/* Post: standard streams are open, file systems mounted, the loopback is up.
 * Returns 0, or -errno and in STEP what failed. */
long init_prepare(const char **step);

/* Says on standard error how the launch ended, and powers the machine off. */
_Noreturn void init_end(const struct launch_result *result);

#endif
