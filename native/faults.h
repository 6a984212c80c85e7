/*
 * Where a test build kills the launcher: `shim-launch-faults STEP PLAN` dies by
 * SIGKILL before the named step.  Empty in every other build.
 */
#ifndef SHIM_FAULTS_H
#define SHIM_FAULTS_H

#ifdef SHIM_FAULTS
void fault_point(const char *step);
#else
static inline void fault_point(const char *step)
{
	(void)step; /* only test builds have faults */
}
#endif

#endif
