/*
 * The keeper is the program's parent and the subreaper of its descendants, so
 * all of them are its children sooner or later, and it has no other children.
 * It runs in the recorder's memory: raw system calls and its own stack only.
 */
#include "keeper.h"

#include "sys.h"

enum {
	SIGNAL_KILL = 9, SIGNAL_CHLD = 17, SIGNAL_STOP = 19,
	NO_HANG = 1, UNTRACED = 2, WALL = 0x40000000, STOPPED = 0x7f,
	SETMASK = 2, PERMISSION_DENIED = -13, NO_SUCH_PROCESS = -3,
	/* linux/prctl.h, v6.18 */
	SET_CHILD_SUBREAPER = 36,
};

/* linux/sched.h, v6.18 */
#define CLONE_FILES 0x00000400U
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)

static long die_with_keeper(struct keeper *keeper)
{
	long error = sys_prctl(UAPI_PR_SET_PDEATHSIG, SIGNAL_KILL, 0);

	if (error < 0)
		return error;
	return sys0(SYS_getppid) == keeper->self ? 0 : NO_SUCH_PROCESS;
}

static long reset_dispositions(struct keeper *keeper)
{
	static const struct uapi_sigaction standard; /* SIG_DFL */
	long error = 0;

	for (int signal = 1; error == 0 && signal <= UAPI_NSIG; signal++)
		if (keeper->defaults >> (signal - 1) & 1)
			error = sys_sigaction(signal, &standard, NULL);
	return error;
}

static long restore_mask(struct keeper *keeper)
{
	return sys_sigmask(SETMASK, &keeper->mask, NULL);
}

static long install(struct keeper *keeper)
{
	struct uapi_sock_fprog program = {
		.len = (uint16_t)keeper->filter_count,
		.filter = (uint64_t)(uintptr_t)keeper->filter,
	};

	return sys3(SYS_seccomp, UAPI_SECCOMP_SET_MODE_FILTER,
		    UAPI_SECCOMP_FILTER_NEW_LISTENER |
		    UAPI_SECCOMP_FILTER_WAIT_KILLABLE_RECV, (long)&program);
}

/* With CAP_SYS_ADMIN a filter takes nothing away: setuid programs then work as
 * they do without a recorder. */
static long install_filter(struct keeper *keeper)
{
	long listener = install(keeper);

	if (listener == PERMISSION_DENIED) {
		long error = sys_prctl(UAPI_PR_SET_NO_NEW_PRIVS, 1, 0);

		if (error < 0)
			return error;
		keeper->unprivileged = 1;
		listener = install(keeper);
	}
	if (listener < 0)
		return listener;
	__atomic_store_n(&keeper->listener, (int32_t)listener,
			 __ATOMIC_RELEASE);
	return 0;
}

static long become_program(struct keeper *keeper)
{
	return sys3(SYS_execve, (long)keeper->program, (long)keeper->argv,
		    (long)keeper->environment);
}

static const struct {
	const char *name;
	long (*run)(struct keeper *keeper);
} program_steps[] = {
	{ "die-with-keeper", die_with_keeper },
	{ "reset-dispositions", reset_dispositions },
	/* After the dispositions: no handler of the recorder's may run here. */
	{ "restore-mask", restore_mask },
	/* Last: from here on every call waits for the recorder. */
	{ "install-filter", install_filter },
	{ "exec", become_program },
};

static void program_main(void *argument)
{
	struct keeper *keeper = argument;

	for (size_t i = 0; i < sizeof(program_steps) / sizeof(program_steps[0]);
	     i++) {
		keeper->error = program_steps[i].run(keeper);
		if (keeper->error < 0) {
			keeper->step = program_steps[i].name;
			break;
		}
	}
	sys_exit(125); /* a successful exec does not come here */
}

/* Handlers of the recorder's do not come along; ignored signals do. */
static long start_program(struct keeper *keeper)
{
	struct uapi_clone_args arguments = {
		.flags = UAPI_CLONE_VM | CLONE_FILES | UAPI_CLONE_PIDFD |
			 CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)&keeper->pidfd,
		.exit_signal = SIGNAL_CHLD,
		.stack = (uint64_t)(uintptr_t)keeper->program_stack,
		.stack_size = sizeof(keeper->program_stack),
	};
	static const struct uapi_sigaction standard; /* SIG_DFL */
	/* Ignored, it would make the kernel reap the program. */
	long error = sys_sigaction(SIGNAL_CHLD, &standard, NULL);
	long pid;

	keeper->self = (int32_t)sys0(SYS_getpid);
	if (error == 0)
		error = sys_prctl(SET_CHILD_SUBREAPER, 1, 0);
	if (error < 0)
		return error;
	pid = arch_spawn(&arguments, sizeof(arguments), program_main, keeper);
	if (pid < 0)
		return pid;
	__atomic_store_n(&keeper->pid, (int32_t)pid, __ATOMIC_RELEASE);
	return 0;
}

static void note_program(struct keeper *keeper, int status)
{
	if ((status & 0xff) == STOPPED) {
		/* A shell waits for the recorder, not for us. */
		if (keeper->job_control)
			sys_pidfd_kill(keeper->recorder, SIGNAL_STOP);
		return;
	}
	keeper->status = status;
	__atomic_store_n(&keeper->ended, 1, __ATOMIC_RELEASE);
	sys_futex(&keeper->ended, UAPI_FUTEX_WAKE_PRIVATE, 1);
}

/* Returns whether there are children left. */
static int reap(struct keeper *keeper)
{
	int status;
	long pid;

	while ((pid = sys_wait4(-1, &status, NO_HANG | UNTRACED | WALL)) > 0)
		if (pid == keeper->pid)
			note_program(keeper, status);
	return pid == 0;
}

/*
 * Kill every child.  None of them has been reaped since the list was read, so
 * no number in it has passed to another process.
 */
static void kill_children(void)
{
	char list[4096];
	long fd = sys_open("/proc/thread-self/children", 02000000 /* CLOEXEC */);
	long size = fd < 0 ? 0 : sys_read((int)fd, list, sizeof(list));
	long pid = 0;

	/* A list longer than the room ends in a number that may be cut: it is
	 * not followed by a space.  The rest comes in the next round. */
	for (long i = 0; i < size; i++) {
		if (list[i] >= '0' && list[i] <= '9') {
			pid = pid * 10 + (list[i] - '0');
			continue;
		}
		if (pid != 0)
			sys2(SYS_kill, pid, SIGNAL_KILL);
		pid = 0;
	}
	if (fd >= 0)
		sys_close((int)fd);
}

/* Why SIGCHLD came does not matter: every child is looked at. */
static void forget_signals(const struct keeper *keeper)
{
	struct uapi_signalfd_siginfo info;

	while (sys_read(keeper->children, &info, sizeof(info)) == sizeof(info))
		continue;
}

void keeper_main(void *argument)
{
	static const struct timespec round = { 0, 5000000 };
	struct keeper *keeper = argument;
	struct pollfd polled[2] = { { keeper->children, POLLIN, 0 },
				    { keeper->recorder, POLLIN, 0 } };
	long error = start_program(keeper);
	int ending = error < 0;

	if (error < 0) {
		keeper->step = "start-program";
		keeper->error = error;
	}
	while (reap(keeper) || !ending) {
		if (ending) {
			/* A child of a killed one is ours in the next round. */
			sys_pidfd_kill(keeper->pidfd, SIGNAL_KILL);
			kill_children();
		}
		sys_ppoll(polled, ending ? 1 : 2, ending ? &round : NULL);
		forget_signals(keeper);
		ending |= polled[1].revents != 0 ||
			  __atomic_load_n(&keeper->end, __ATOMIC_ACQUIRE) != 0;
	}
	sys_exit(0);
}
