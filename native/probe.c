/* What can this kernel do?  Asks, changes nothing, leaves no process behind. */
#include "probe.h"

#include "sha256.h"
#include "sys.h"

enum { BAD_FILE = -9, FAULT = -14, INVALID = -22 };

/* A call that exists answers bad arguments in its own way. */
static long exists_if(long result, long expected)
{
	return result == expected || result >= 0 ? 1 : result;
}

long probe_landlock_abi(void)
{
	return sys3(444 /* landlock_create_ruleset */, 0, 0,
		    UAPI_LANDLOCK_CREATE_RULESET_VERSION);
}

long probe_mdwe(void)
{
	return sys_prctl(UAPI_PR_GET_MDWE, 0, 0);
}

long probe_mseal(void)
{
	return exists_if(sys3(UAPI_NR_mseal, 1 /* not a page's start */, 0, 0),
			 INVALID);
}

long probe_pidfd_getfd(void)
{
	return exists_if(sys_pidfd_getfd(-1, 0), BAD_FILE);
}

long probe_user_notification(void)
{
	uint32_t action = UAPI_SECCOMP_RET_USER_NOTIF;

	return exists_if(sys3(SYS_seccomp, UAPI_SECCOMP_GET_ACTION_AVAIL, 0,
			      (long)&action), 0);
}

/* Flags are checked before the filter is read: null is a fault, never a
 * filter (kernel/seccomp.c seccomp_set_mode_filter, v6.18). */
long probe_wait_killable(void)
{
	return exists_if(sys3(SYS_seccomp, UAPI_SECCOMP_SET_MODE_FILTER,
			      UAPI_SECCOMP_FILTER_NEW_LISTENER |
			      UAPI_SECCOMP_FILTER_WAIT_KILLABLE_RECV, 0),
			 FAULT);
}

static void wait_for_death(void *launcher)
{
	const int *parent = launcher;

	sys_prctl(UAPI_PR_SET_PDEATHSIG, 9 /* SIGKILL */, 0);
	while (sys0(SYS_getppid) == *parent)
		sys_ppoll(NULL, 0, NULL);
	sys_exit(0);
}

/* Trace a child as a launch does; every signal is blocked so that none of the
 * caller's handlers runs in the child, which shares the caller's memory. */
static long trace_child(uint8_t *stack, size_t size)
{
	int parent = (int)sys0(SYS_getpid);
	int pidfd = -1;
	struct uapi_clone_args arguments = {
		.flags = UAPI_CLONE_VM | UAPI_CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.stack = (uint64_t)(uintptr_t)stack,
		.stack_size = size,
	};
	long pid = arch_spawn(&arguments, sizeof(arguments), wait_for_death,
			      &parent);
	long result;

	if (pid < 0)
		return pid;
	result = sys_ptrace(UAPI_PTRACE_SEIZE, (int)pid, 0,
			    (void *)(UAPI_PTRACE_O_EXITKILL));
	sys_pidfd_kill(pidfd, 9 /* SIGKILL */);
	while (sys_wait4((int)pid, NULL, 0x40000000 /* __WALL */) == -4)
		continue; /* EINTR */
	sys_close(pidfd);
	return result < 0 ? result : 1;
}

long probe_trace_child(void)
{
	static const uint64_t all = UINT64_MAX;
	uint8_t stack[16 << 10] __attribute__((aligned(16)));
	uint64_t mask;
	long result = sys_sigmask(2 /* SIG_SETMASK */, &all, &mask);

	if (result < 0)
		return result;
	result = trace_child(stack, sizeof(stack));
	sys_sigmask(2 /* SIG_SETMASK */, &mask, NULL);
	return result;
}

/* In a process of its own, which the filter allows everything. */
long probe_listener(void)
{
	static const uint64_t allow = UINT64_C(0x7fff000000000006);
	struct uapi_sock_fprog program = { 1, (uint64_t)(uintptr_t)&allow };
	struct uapi_clone_args arguments = { .exit_signal = 0 };
	long pid = sys2(SYS_clone3, (long)&arguments, sizeof(arguments));
	int status = 0;

	if (pid == 0) {
		long result = sys_prctl(UAPI_PR_SET_NO_NEW_PRIVS, 1, 0);

		if (result == 0)
			result = sys3(SYS_seccomp, UAPI_SECCOMP_SET_MODE_FILTER,
				      UAPI_SECCOMP_FILTER_NEW_LISTENER,
				      (long)&program);
		sys_exit(result < 0 ? (int)-result : 0);
	}
	if (pid < 0)
		return pid;
	while (sys_wait4((int)pid, &status, 0x40000000 /* __WALL */) == -4)
		continue; /* EINTR */
	return status == 0 ? 1 : -(status >> 8 & 0xff);
}

long probe_sha_cpu(void)
{
	return sha256_cpu_is_fast();
}
