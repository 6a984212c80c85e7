/*
 * The program runs.  Wait for its end, for a call that its filter refused, and
 * for signals that it should have.
 */
#include <string.h>

#include "steps.h"

enum {
	SIGNAL_HUP = 1, SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_KILL = 9,
	SIGNAL_PIPE = 13, SIGNAL_CHLD = 17, SIGNAL_CONT = 18, SIGNAL_STOP = 19,
	SIGNAL_TSTP = 20, SIGNAL_TTIN = 21, SIGNAL_TTOU = 22, SIGNAL_WINCH = 28,
	NO_HANG = 1, UNTRACED = 2, WALL = 0x40000000, STOPPED = 0x7f,
};

static uint64_t bit(int signal)
{
	return UINT64_C(1) << (signal - 1);
}

/* What a terminal sends, to a whole process group. */
static uint64_t terminal_signals(void)
{
	return bit(SIGNAL_HUP) | bit(SIGNAL_INT) | bit(SIGNAL_QUIT) |
	       bit(SIGNAL_CONT) | bit(SIGNAL_TSTP) | bit(SIGNAL_TTIN) |
	       bit(SIGNAL_TTOU) | bit(SIGNAL_WINCH);
}

void note_end(struct launch_state *launch, int status)
{
	launch->status = status;
	launch->ended = 1;
}

int reap_program(struct launch_state *launch)
{
	int status = 0;
	long error;

	bury_threads(launch);
	if (launch->ended)
		return 0;
	do
		error = sys_wait4(launch->pid, &status, WALL);
	while (error >= 0 && (status & 0xff) == STOPPED);
	if (error < 0)
		return refuse(launch, "somebody else has reaped the program");
	note_end(launch, status);
	return 0;
}

/* Its number is its own until it is reaped. */
void kill_program(struct launch_state *launch)
{
	if (sys_pidfd_kill(launch->pidfd, SIGNAL_KILL) < 0)
		sys2(SYS_kill, launch->pid, SIGNAL_KILL);
}

/* Post: the child is no more, and is reaped. */
void end_program(struct launch_state *launch)
{
	if (launch->pid == 0 || launch->ended)
		return;
	kill_program(launch);
	(void)reap_program(launch); /* the launch has failed already, for a reason */
	launch->ended = 1;
}

/*
 * Would the terminal have sent SIGNAL to the program as well?  It sends its
 * signals to a whole process group, in which launcher and program are together
 * unless the program has its own session.  Only a hangup goes to the session's
 * leader alone.
 */
static int reached_both(const struct launch_state *launch,
			const struct uapi_signalfd_siginfo *info)
{
	int signal = (int)info->signo;

	if (info->code != UAPI_SI_KERNEL || !(terminal_signals() & bit(signal)) ||
	    launch->plan->flags & PLAN_NEW_SESSION)
		return 0;
	return (signal != SIGNAL_HUP && signal != SIGNAL_CONT) ||
	       sys1(SYS_getsid, 0) != launch->child.launcher;
}

/* A shell waits for the launcher: it must stop when the program stops. */
void stop_launcher(struct launch_state *launch)
{
	if (launch->options & LAUNCH_JOB_CONTROL)
		sys2(SYS_kill, launch->child.launcher, SIGNAL_STOP);
}

static void stop_with_program(struct launch_state *launch)
{
	int status;
	long pid = sys_wait4(launch->pid, &status, WALL | UNTRACED | NO_HANG);

	if (pid != launch->pid)
		return;
	if ((status & 0xff) == STOPPED)
		stop_launcher(launch);
	else
		note_end(launch, status);
}

/*
 * The first process of a machine or of a container inherits every orphan.  The
 * program's own end is not for here, nor are threads that are still traced.
 */
static void reap_orphans(const struct launch_state *launch)
{
	enum { ALL = 0, EXITED = 4, LEAVE = 0x01000000, FIRST = 1 };
	struct { int32_t before[4]; int32_t pid; int32_t rest[27]; } info;

	if (launch->child.launcher != FIRST || launch->following)
		return;
	for (;;) {
		info.pid = 0;
		if (arch_syscall(SYS_waitid, ALL, 0, (long)&info,
				 EXITED | NO_HANG | LEAVE | WALL, 0, 0) < 0 ||
		    info.pid == 0 || info.pid == launch->pid ||
		    info.pid == launch->init)
			return;
		sys_wait4(info.pid, NULL, NO_HANG | WALL);
	}
}

static void pass_on_signals(struct launch_state *launch, int signals)
{
	struct uapi_signalfd_siginfo info;

	while (sys_read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.signo == SIGNAL_CHLD && launch->following)
			continue; /* the loop looks at all threads each time */
		if (info.signo == SIGNAL_CHLD) {
			stop_with_program(launch);
			reap_orphans(launch);
		} else if (!reached_both(launch, &info))
			sys_pidfd_kill(launch->pidfd, (int)info.signo);
	}
}

static long open_signals(int fd, uint64_t mask)
{
	return arch_syscall(SYS_signalfd4, fd, (long)&mask, sizeof(mask),
			    02004000 /* SFD_CLOEXEC | SFD_NONBLOCK */, 0, 0);
}

/*
 * SIGCHLD stays pending unless job control needs it: the caller's other
 * children are not ours.  So does SIGPIPE: the launcher's own writes cause it.
 */
static uint64_t watched_signals(const struct launch_state *launch)
{
	uint64_t mask = ~bit(SIGNAL_PIPE);

	return launch->options & LAUNCH_JOB_CONTROL ? mask
						    : mask & ~bit(SIGNAL_CHLD);
}

/*
 * The interrupt key that ended the program is pending here as well, and would
 * end the launcher once its mask is restored, before it can say how the program
 * ended.  Other signals came to the caller, and stay pending for it.
 */
static void forget_terminal_signals(int signals)
{
	struct uapi_signalfd_siginfo info;

	if (open_signals(signals, terminal_signals()) != signals)
		return;
	while (sys_read(signals, &info, sizeof(info)) == sizeof(info))
		continue;
}

enum { LISTENER, PROGRAM, SIGNALS, WATCHED, FILES = WATCHED + LAUNCH_WATCHED };

static uint64_t now_ns(void)
{
	struct timespec now = { 0, 0 };

	sys2(SYS_clock_gettime, 7 /* CLOCK_BOOTTIME */, (long)&now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/*
 * While the program is traced its stops arrive as SIGCHLD.  In a process of
 * somebody else's another thread may take that away: there it is looked every
 * millisecond, later every ten.
 */
static uint64_t patience(const struct launch_state *launch, int rounds)
{
	if (!launch->following || launch->options & LAUNCH_OWN_PROCESS)
		return UINT64_MAX;
	return rounds < 100 ? 1000000 : 10000000;
}

/* Poll until something happens, the time is up, or it is time to look again. */
static long wait_for_event(const struct launch_state *launch,
			   struct pollfd *polled, uint64_t end, int rounds)
{
	uint64_t most = patience(launch, rounds);
	uint64_t now = end == 0 ? 0 : now_ns();
	struct timespec timeout;

	if (end != 0 && end - now < most)
		most = now < end ? end - now : 0;
	if (most == UINT64_MAX)
		return sys_ppoll(polled, FILES, NULL);
	timeout.tv_sec = (time_t)(most / 1000000000U);
	timeout.tv_nsec = (long)(most % 1000000000U);
	return sys_ppoll(polled, FILES, &timeout);
}

static int end_by_time(struct launch_state *launch)
{
	kill_program(launch);
	launch->result->timed_out = 1;
	return reap_program(launch);
}

/* Who watches beside the program may end it. */
static int attend_watched(struct launch_state *launch, struct pollfd *polled)
{
	for (size_t i = 0; i < LAUNCH_WATCHED; i++) {
		if (polled[WATCHED + i].revents == 0)
			continue;
		/* What has ended is not asked again. */
		if (!(polled[WATCHED + i].revents & POLLIN))
			polled[WATCHED + i].fd = -1;
		else if (launch->machine->attend(launch->context, i) != 0) {
			kill_program(launch);
			launch->result->abandoned = 1;
			return reap_program(launch);
		}
	}
	return 0;
}

static int attend(struct launch_state *launch, struct pollfd *polled)
{
	int error;

	/* A violation before an end: the end may be due to it. */
	if (polled[LISTENER].revents & POLLIN)
		return receive_violation(launch);
	/* A listener hangs up when the last thread is dying. */
	if (polled[PROGRAM].revents != 0 || polled[LISTENER].revents != 0)
		return reap_program(launch);
	error = attend_watched(launch, polled);
	if (error == 0 && !launch->ended)
		pass_on_signals(launch, polled[SIGNALS].fd);
	return error;
}

int supervise(struct launch_state *launch)
{
	long signals = open_signals(-1, watched_signals(launch));
	struct pollfd polled[FILES] = {
		[LISTENER] = { launch->listener, POLLIN, 0 },
		[PROGRAM] = { launch->pidfd, POLLIN, 0 },
		[SIGNALS] = { (int)signals, POLLIN, 0 },
		[WATCHED] = { -1, POLLIN, 0 },
		[WATCHED + 1] = { -1, POLLIN, 0 },
	};
	int error = signals < 0 ? (int)signals : 0;
	uint64_t end = launch->plan->timeout == 0 ?
		       0 : now_ns() + launch->plan->timeout;

	for (size_t i = 0; launch->machine != NULL && i < LAUNCH_WATCHED; i++)
		polled[WATCHED + i].fd = launch->machine->watched[i];
	for (int round = 0; error == 0 && !launch->ended; round++) {
		long ready;

		if (launch->following) {
			error = follow_stops(launch);
			polled[LISTENER].fd = launch->listener;
			if (error != 0 || launch->ended)
				break;
		}
		ready = wait_for_event(launch, polled, end, round);
		if (ready != 0)
			error = ready < 0 ? (int)ready : attend(launch, polled);
		if (error == 0 && end != 0 && !launch->ended &&
		    now_ns() >= end)
			error = end_by_time(launch);
	}
	if (signals < 0 || launch->options & LAUNCH_OWN_PROCESS)
		return error;
	forget_terminal_signals((int)signals);
	sys_close((int)signals);
	return error;
}
