/* Where does the traced program stand, and let it go on to its next stop. */
#include "steps.h"

enum { STOPPED = 0x7f, STOP = 19, WALL = 0x40000000 };

/*
 * Somebody's SIGSTOP reached the program while it is held.  It is remembered
 * and sent again at the end: stopping now would only hold it longer.
 * Every other signal is blocked meanwhile.
 */
static int is_foreign_stop(int status)
{
	int signal = status >> 8 & 0xff;
	int event = status >> 16;

	return event == UAPI_PTRACE_EVENT_STOP || (event == 0 && signal == STOP);
}

int await_stop(struct launch_state *launch, long request, int *status)
{
	long error;

	for (;;) {
		error = sys_wait4(launch->thread, status, WALL);
		if (error < 0)
			return (int)error;
		if ((*status & 0xff) != STOPPED) {
			if (launch->thread == launch->pid)
				note_end(launch, *status);
			return -3; /* ESRCH */
		}
		if (!is_foreign_stop(*status))
			return 0;
		launch->held.stop_wanted = 1;
		error = resume(launch, request);
		if (error < 0)
			return (int)error;
	}
}

int resume(struct launch_state *launch, long request)
{
	return (int)sys_ptrace(request, launch->thread, 0, NULL);
}

int resume_until_stop(struct launch_state *launch, long request, int *status)
{
	int error = resume(launch, request);

	return error < 0 ? error : await_stop(launch, request, status);
}
