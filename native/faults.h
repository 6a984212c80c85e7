/*
 * What a test build does to itself: `shim-launch-faults die STEP PLAN` is killed
 * before the named step, `stop` stops the program there.  Empty in every other
 * build.
 */
#ifndef SHIM_FAULTS_H
#define SHIM_FAULTS_H

#ifdef SHIM_FAULTS
void fault_point(const char *step, int pid);
#else
static inline void fault_point(const char *step, int pid)
{
	(void)step; /* only test builds have faults */
	(void)pid;
}
#endif

#endif
