/* A call that the filter refused: it is reported, and ends the program or is
 * answered. */
#include <string.h>

#include "steps.h"

enum { SIGNAL_KILL = 9, SIGNAL_STOP = 19 };

/* Kill the process of the thread that made the refused call.  It waits in that
 * call, so its number cannot have passed to another while ID is valid. */
static void kill_offender(struct launch_state *launch, uint64_t id, int thread)
{
	long fd = arch_syscall(SYS_pidfd_open, thread, UAPI_PIDFD_THREAD, 0, 0,
			       0, 0);
	long valid = sys_ioctl(launch->listener,
			       UAPI_SECCOMP_IOCTL_NOTIF_ID_VALID, &id);

	if (fd >= 0 && valid >= 0)
		arch_syscall(SYS_pidfd_send_signal, (int)fd, SIGNAL_KILL, 0,
			     UAPI_PIDFD_SIGNAL_THREAD_GROUP, 0, 0);
	else if (valid >= 0) /* before v6.9: no pidfd of a thread */
		sys2(SYS_kill, thread, SIGNAL_KILL);
	if (fd >= 0)
		sys_close((int)fd);
}

static void describe(struct launch_violation *violation,
		     const struct uapi_seccomp_notif *notification)
{
	struct timespec now = { 0, 0 };

	sys2(SYS_clock_gettime, 0 /* CLOCK_REALTIME */, (long)&now);
	memset(violation, 0, sizeof(*violation));
	violation->time_ns = (uint64_t)now.tv_sec * 1000000000U +
			     (uint64_t)now.tv_nsec;
	violation->address = notification->data.instruction_pointer;
	memcpy(violation->arguments, notification->data.args,
	       sizeof(violation->arguments));
	violation->pid = (int32_t)notification->pid;
	violation->syscall = notification->data.nr;
	violation->arch = notification->data.arch;
}

int report_call(struct launch_state *launch,
		const struct uapi_seccomp_notif *notification)
{
	struct launch_violation violation;

	describe(&violation, notification);
	violation.stage = (uint32_t)launch->stage;
	launch->result->reported++;
	if (launch->on_violation != NULL)
		launch->on_violation(launch->context, &violation);
	return 0;
}

/*
 * The call is never answered: its thread stays in it until it is dead.  The
 * program is stopped before the report, so that its other threads do nothing
 * meanwhile and its memory map can still be read; and killed after it.
 */
static int end_by_violation(struct launch_state *launch,
			    const struct uapi_seccomp_notif *notification)
{
	sys_pidfd_kill(launch->pidfd, SIGNAL_STOP);
	report_call(launch, notification);
	kill_program(launch);
	kill_offender(launch, notification->id, (int)notification->pid);
	launch->result->violation = 1;
	return reap_program(launch);
}

/* Only the thread that made the call waits.  A process of the program's that is
 * gone before the answer needs none. */
static int answer(struct launch_state *launch,
		  const struct uapi_seccomp_notif *call)
{
	enum { NO_PERMISSION = -1, NO_ENTRY = -2 };
	int audit = launch->plan->flags & PLAN_AUDIT;
	int error;

	report_call(launch, call);
	error = answer_call(launch, call->id, audit ? 0 : NO_PERMISSION,
			    audit ? UAPI_SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0);
	return error == NO_ENTRY ? 0 : error;
}

int receive_violation(struct launch_state *launch)
{
	union notification received;
	int error = receive_call(launch, &received);

	if (error == -2 /* ENOENT: its thread was killed meanwhile */)
		return 0;
	if (error < 0)
		return error;
	if (launch->plan->flags & (PLAN_ERRNO | PLAN_AUDIT))
		return answer(launch, &received.call);
	return end_by_violation(launch, &received.call);
}
