/* A recording from its start to its end: processes, files, signals. */
#include "record.h"

#include "sys.h"

enum {
	SIGNAL_PIPE = 13, SIGNAL_CHLD = 17,
	BLOCK_ALL = 2 /* SIG_SETMASK */, WALL = 0x40000000, INTERRUPTED = -4,
};

/* linux/sched.h, linux/seccomp.h, v6.18 */
#define CLONE_FILES 0x00000400U
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#define IOCTL_NOTIF_SET_FLAGS 0x40082104UL
#define FD_SYNC_WAKE_UP 1U

static uint64_t bit(int signal)
{
	return UINT64_C(1) << (signal - 1);
}

int record_failed(struct recorder *recorder, const char *step, long error)
{
	recorder->step = step;
	recorder->error = (int32_t)-error;
	return RECORD_FAILED;
}

static long open_signals(int fd, uint64_t mask)
{
	return arch_syscall(SYS_signalfd4, fd, (long)&mask, sizeof(mask),
			    02004000 /* SFD_CLOEXEC | SFD_NONBLOCK */, 0, 0);
}

/* Every number that stays -1 has nothing to be closed. */
static long open_files(struct recorder *recorder)
{
	long signals = open_signals(-1, ~(bit(SIGNAL_PIPE) | bit(SIGNAL_CHLD)));
	long children = open_signals(-1, bit(SIGNAL_CHLD));
	long timer = sys2(SYS_timerfd_create, 1 /* CLOCK_MONOTONIC */,
			  02004000 /* TFD_CLOEXEC | TFD_NONBLOCK */);
	long self = sys2(SYS_pidfd_open, sys0(SYS_getpid), 0);

	recorder->signals = (int32_t)signals;
	recorder->keeper.children = (int32_t)children;
	recorder->timer = (int32_t)timer;
	recorder->own_pidfd = (int32_t)self;
	recorder->keeper.recorder = (int32_t)self;
	return signals < 0 ? signals : children < 0 ? children :
	       timer < 0 ? timer : self < 0 ? self : 0;
}

static long spawn_keeper(struct recorder *recorder)
{
	struct keeper *keeper = &recorder->keeper;
	struct uapi_clone_args arguments = {
		.flags = UAPI_CLONE_VM | CLONE_FILES | UAPI_CLONE_PIDFD |
			 CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)&recorder->keeper_pidfd,
		.stack = (uint64_t)(uintptr_t)keeper->stack,
		.stack_size = sizeof(keeper->stack),
	};
	long pid = arch_spawn(&arguments, sizeof(arguments), keeper_main,
			      keeper);

	if (pid < 0)
		return pid;
	recorder->keeper_pid = (int32_t)pid;
	return 0;
}

/*
 * Nobody can wake us: once the program has its filter, every call of it waits
 * for us.  So look again and again, unless the keeper has something to say.
 */
static long await_listener(struct recorder *recorder)
{
	static const struct timespec moment = { 0, 20000 };
	struct keeper *keeper = &recorder->keeper;
	struct pollfd polled = { recorder->keeper_pidfd, POLLIN, 0 };

	while (__atomic_load_n(&keeper->listener, __ATOMIC_ACQUIRE) < 0) {
		if (polled.revents != 0 ||
		    __atomic_load_n(&keeper->ended, __ATOMIC_ACQUIRE))
			return keeper->error < 0 ? (long)keeper->error
						 : -3 /* ESRCH: killed */;
		sys_ppoll(&polled, 1, &moment);
	}
	return 0;
}

int record_start(struct recorder *recorder)
{
	struct keeper *keeper = &recorder->keeper;
	static const uint64_t all = UINT64_MAX;
	long error;

	recorder->signals = recorder->timer = recorder->own_pidfd = -1;
	recorder->keeper_pidfd = recorder->awaited = -1;
	keeper->children = keeper->listener = keeper->pidfd = -1;
	error = sys_sigmask(BLOCK_ALL, &all, &recorder->mask);
	if (error < 0)
		return record_failed(recorder, "block-signals", error);
	recorder->masked = 1;
	keeper->mask = recorder->mask;
	error = open_files(recorder);
	if (error < 0)
		return record_failed(recorder, "open-files", error);
	error = spawn_keeper(recorder);
	if (error < 0)
		return record_failed(recorder, "spawn-keeper", error);
	error = await_listener(recorder);
	if (error < 0)
		return record_failed(recorder, keeper->step != NULL ?
				     keeper->step : "install-filter", error);
	recorder->awaited = keeper->pidfd;
	/* Program and recorder take turns: saying so spares a wake-up of another
	 * CPU for each.  A kernel before v6.6 does not know it. */
	sys_ioctl(keeper->listener, IOCTL_NOTIF_SET_FLAGS,
		  (void *)FD_SYNC_WAKE_UP);
	return 0;
}

int record_arm(struct recorder *recorder, uint64_t nanoseconds)
{
	const struct timespec value[2] = { { 0, 0 }, {
		(time_t)(nanoseconds / 1000000000U),
		(long)(nanoseconds % 1000000000U) } };

	return (int)arch_syscall(SYS_timerfd_settime, recorder->timer, 0,
				 (long)value, 0, 0, 0);
}

int record_kill(struct recorder *recorder, int signal)
{
	return (int)sys_pidfd_kill(recorder->keeper.pidfd, signal);
}

static void close_file(int32_t *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

/*
 * The interrupt key that ended the program is pending here as well, and would
 * end the caller once its mask is restored.  Other signals came to the caller,
 * and stay pending for it.
 */
static void forget_terminal_signals(struct recorder *recorder)
{
	struct uapi_signalfd_siginfo info;

	if (recorder->signals < 0 ||
	    open_signals(recorder->signals, recorder->terminal_signals) !=
	    recorder->signals)
		return;
	while (sys_read(recorder->signals, &info, sizeof(info)) == sizeof(info))
		continue;
}

/* The keeper exits when nothing of the tree is left, so then it is over. */
void record_end(struct recorder *recorder)
{
	struct keeper *keeper = &recorder->keeper;

	if (recorder->keeper_pid > 0) {
		__atomic_store_n(&keeper->end, 1, __ATOMIC_RELEASE);
		sys_pidfd_kill(recorder->keeper_pidfd, SIGNAL_CHLD);
		while (sys_wait4(recorder->keeper_pid, NULL, WALL) ==
		       INTERRUPTED)
			continue;
		recorder->keeper_pid = 0;
	}
	forget_terminal_signals(recorder);
	close_file(&keeper->listener);
	close_file(&keeper->pidfd);
	close_file(&keeper->children);
	close_file(&recorder->keeper_pidfd);
	close_file(&recorder->own_pidfd);
	close_file(&recorder->signals);
	close_file(&recorder->timer);
	if (recorder->masked)
		sys_sigmask(BLOCK_ALL, &recorder->mask, NULL);
	recorder->masked = 0;
}
