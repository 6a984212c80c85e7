/*
 * What a test build does to itself: `shim-launch-faults die STEP PLAN` is killed
 * before the named step, `stop` stops the program there; with a number instead,
 * an errno, the system call fails that is STEP-th.  Empty in every other build.
 */
#ifndef SHIM_FAULTS_H
#define SHIM_FAULTS_H

#ifdef SHIM_FAULTS
void fault_point(const char *step, int pid);
/* Returns -errno for the system call that is to fail, once; else 0. */
long fault_call(long nr);
#else
static inline long fault_call(long nr)
{
	(void)nr;
	return 0;
}


static inline void fault_point(const char *step, int pid)
{
	(void)step; /* only test builds have faults */
	(void)pid;
}
#endif

#endif
