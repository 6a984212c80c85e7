/*
 * All threads of a program that is still traced: their stops, and how they are
 * let go.  Which there are, /proc/PID/task says each time.
 */
#include <string.h>

#include "steps.h"

enum { TRAP = 5, STOPPED = 0x7f, WALL = 0x40000000, NO_HANG = 1,
       NO_PERMISSION = -1, NO_ENTRY = -2, NO_SUCH_PROCESS = -3,
       NO_CHILD = -10, STOP = 19 };

/* The number that NAME is, or 0. */
static int parse_thread(const char *name)
{
	int number = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		number = number * 10 + (*name - '0');
	return *name == 0 ? number : 0;
}

/* struct linux_dirent64: u64 inode, s64 offset, u16 size, u8 kind, name */
static int act_on_entries(struct launch_state *launch, const uint8_t *entries,
			  size_t size, on_thread *act)
{
	int error = 0;

	for (size_t at = 0; at + 19 < size && error == 0;) {
		uint16_t length;
		int thread = parse_thread((const char *)entries + at + 19);

		memcpy(&length, entries + at + 16, sizeof(length));
		if (thread > 0)
			error = act(launch, thread);
		if (length == 0)
			break;
		at += length;
	}
	return error;
}

/* Do ACT on each thread, until it returns something else than 0. */
int for_each_thread(struct launch_state *launch, on_thread *act)
{
	uint8_t entries[2048];
	long fd = open_proc(launch, "/task", 0200000 /* O_DIRECTORY */);
	long size = 0;
	int error = 0;

	if (fd == NO_ENTRY || fd == NO_SUCH_PROCESS)
		return 0; /* there are none any more */
	if (fd < 0)
		return (int)fd;
	while (error == 0 &&
	       (size = sys3(SYS_getdents64, (int)fd, (long)entries,
			    sizeof(entries))) > 0)
		error = act_on_entries(launch, entries, (size_t)size, act);
	sys_close((int)fd);
	if (error == 0 && size < 0 && size != NO_ENTRY)
		error = (int)size;
	return error;
}

static int resume_thread(int thread, long request, int signal)
{
	int error = (int)sys_ptrace(request, thread, 0,
				    (const void *)(uintptr_t)(unsigned)signal);

	return error == NO_SUCH_PROCESS ? 0 : error; /* killed meanwhile */
}

/* The new thread of an event is followed by itself.  A process that was made
 * like a thread is none of the program's, and is let go. */
static int let_process_go(struct launch_state *launch, int thread)
{
	unsigned long made = 0;
	int status;
	long got = sys_ptrace(UAPI_PTRACE_GETEVENTMSG, thread, 0, &made);

	if (got < 0)
		return got == NO_SUCH_PROCESS ? 0 : (int)got;
	if (sys3(SYS_tgkill, launch->pid, (long)made, 0) == 0)
		return 0;
	if (sys_wait4((int)made, &status, WALL) == (long)made &&
	    (status & 0xff) == STOPPED)
		resume_thread((int)made, UAPI_PTRACE_DETACH, 0);
	return 0;
}

/* The call is not made, and returns EPERM. */
static int skip_call(int thread)
{
	struct arch_registers registers;
	int error = load_registers(thread, &registers);

	arch_skip_call(&registers, NO_PERMISSION);
	return error != 0 ? error : store_registers(thread, &registers);
}

/* A filter before the last has no listener: it stops the thread instead. */
static int report_traced(struct launch_state *launch, int thread)
{
	struct uapi_seccomp_notif call;
	struct uapi_syscall_info info;
	long got;

	memset(&info, 0, sizeof(info));
	got = sys_ptrace(UAPI_PTRACE_GET_SYSCALL_INFO, thread, sizeof(info),
			 &info);
	/* Gone on from here the call would be made. */
	if (got < 0)
		return got == NO_SUCH_PROCESS ? 0 : (int)got;
	memset(&call, 0, sizeof(call));
	call.pid = (uint32_t)thread;
	call.data.nr = (int32_t)info.nr;
	call.data.arch = info.arch;
	call.data.instruction_pointer = info.instruction_pointer;
	memcpy(call.data.args, info.args, sizeof(call.data.args));
	if (launch->plan->flags & (PLAN_ERRNO | PLAN_AUDIT)) {
		report_call(launch, &call);
		return launch->plan->flags & PLAN_AUDIT ?
			       0 : skip_call(thread);
	}
	sys_pidfd_kill(launch->pidfd, STOP);
	report_call(launch, &call);
	kill_program(launch);
	launch->result->violation = 1;
	return 0;
}

/* Only an audit lets it; the boundaries of the program are gone with it. */
static int executed_another(struct launch_state *launch)
{
	enum { NO_EXEC = -8 };

	if (!(launch->plan->flags & PLAN_AUDIT))
		return refuse(launch, "the program executed another, which its "
			      "filter refuses");
	launch->result->missed = NO_EXEC;
	return 0;
}

/*
 * What a stopped THREAD waits for, apart from a boundary.  Post: SIGNAL is what
 * it shall receive when it goes on.
 */
static int settle_stop(struct launch_state *launch, int thread, int status,
		       int *signal)
{
	int event = status >> 16;

	*signal = 0;
	if (event == UAPI_PTRACE_EVENT_SECCOMP)
		return report_traced(launch, thread);
	if (event == UAPI_PTRACE_EVENT_CLONE)
		return let_process_go(launch, thread);
	if (event == UAPI_PTRACE_EVENT_EXEC)
		return executed_another(launch);
	if (event == 0)
		*signal = status >> 8 & 0xff;
	return 0;
}

static int handle_stop(struct launch_state *launch, int thread, int status)
{
	int trapped = (status >> 8 & 0xff) == TRAP;
	int signal;
	int error;

	if (status >> 8 == TRAP) {
		int reached = is_boundary(launch, thread);

		if (reached != 0)
			return reached < 0 ? reached :
					     enter_stage(launch, thread);
	}
	if (status >> 16 == UAPI_PTRACE_EVENT_STOP && !trapped) {
		if (thread == launch->pid)
			stop_launcher(launch);
		return resume_thread(thread, UAPI_PTRACE_LISTEN, 0);
	}
	error = settle_stop(launch, thread, status, &signal);
	if (error != 0)
		return error;
	/* A new thread's first stop: breakpoints are not inherited. */
	if (status >> 16 == UAPI_PTRACE_EVENT_STOP)
		(void)arm_boundary(launch, thread); /* or it was killed */
	return resume_thread(thread, UAPI_PTRACE_CONT, signal);
}

static int follow_thread(struct launch_state *launch, int thread)
{
	int status;
	int error = 0;

	while (error == 0 && launch->following && !launch->ended) {
		long got = sys_wait4(thread, &status, WALL | NO_HANG);

		if (got == 0 || got == NO_CHILD)
			break;
		if (got < 0)
			error = (int)got;
		else if ((status & 0xff) == STOPPED)
			error = handle_stop(launch, thread, status);
		else if (thread == launch->pid)
			note_end(launch, status);
		else
			break;
	}
	return error;
}

int follow_stops(struct launch_state *launch)
{
	return for_each_thread(launch, follow_thread);
}

/*
 * Stop THREAD, which may stand anywhere, and settle what it waits for.  Returns
 * 1 if it stands still then, 0 if it is not traced or no more.
 */
static int halt_thread(struct launch_state *launch, int thread, int *signal,
		       int *error)
{
	int status;
	long got = sys_ptrace(UAPI_PTRACE_INTERRUPT, thread, 0, NULL);

	*error = 0;
	*signal = 0;
	if (got == 0)
		got = sys_wait4(thread, &status, WALL);
	if (got < 0 && got != NO_SUCH_PROCESS && got != NO_CHILD)
		*error = (int)got;
	if (got < 0)
		return *error != 0;
	if ((status & 0xff) != STOPPED) {
		if (thread == launch->pid)
			note_end(launch, status);
		return 0;
	}
	if (status >> 8 == TRAP)
		return 1; /* at the same boundary, or a SIGTRAP that is lost */
	*error = settle_stop(launch, thread, status, signal);
	return 1;
}

/* THREAD has the next boundary, or none where that was the last, and goes on. */
static int send_on(struct launch_state *launch, int thread, long request)
{
	int signal;
	int error;

	if (thread == launch->thread ||
	    !halt_thread(launch, thread, &signal, &error))
		return 0;
	launch->found = 1;
	if (error != 0)
		return error;
	(void)arm_boundary(launch, thread); /* or it was killed */
	return resume_thread(thread, request, signal);
}

static int rearm_thread(struct launch_state *launch, int thread)
{
	return send_on(launch, thread, UAPI_PTRACE_CONT);
}

int rearm_threads(struct launch_state *launch)
{
	int error = for_each_thread(launch, rearm_thread);

	if (error == 0)
		error = arm_boundary(launch, launch->thread);
	return error != 0 ? error :
			    resume_thread(launch->thread, UAPI_PTRACE_CONT, 0);
}

static int release_thread(struct launch_state *launch, int thread)
{
	return send_on(launch, thread, UAPI_PTRACE_DETACH);
}

/* The one that reached the boundary last, so that it cannot end the others'
 * being looked for. */
int release_threads(struct launch_state *launch)
{
	int error = 0;

	do { /* as long as one was there, which may have made another */
		launch->found = 0;
		error = for_each_thread(launch, release_thread);
	} while (error == 0 && launch->found);
	if (error == 0)
		error = arm_boundary(launch, launch->thread);
	if (error == 0)
		error = resume_thread(launch->thread, UAPI_PTRACE_DETACH, 0);
	if (error == 0)
		launch->following = 0; /* else somebody has to bury them */
	return error;
}

/* Pre: the program has been killed.  Its traced threads stay until somebody
 * asks, and it stays with them. */
static int bury_thread(struct launch_state *launch, int thread)
{
	int status = STOPPED;
	long got = thread;

	while (thread != launch->pid && (status & 0xff) == STOPPED &&
	       got == thread)
		got = sys_wait4(thread, &status, WALL);
	return got < 0 && got != NO_CHILD ? (int)got : 0;
}

void bury_threads(struct launch_state *launch)
{
	if (launch->following && for_each_thread(launch, bury_thread) < 0)
		(void)for_each_thread(launch, bury_thread); /* once more */
}
