/*
 * Namespaces of the program's own.  One of processes needs an init that is not
 * the program: signals that a program does not handle would be ignored by it.
 */
#include <string.h>

#include "steps.h"
#include "text.h"

enum { KILL = 9, WALL = 0x40000000, STOPPED = 0x7f, NO_HANG = 1,
       NO_PERMISSION = -1 };

/* Reaps what it inherits, and dies with the launcher: then the kernel kills
 * every process of the namespace. */
static _Noreturn void be_init(void)
{
	static const uint64_t child_status = UINT64_C(1) << (17 /* SIGCHLD */ - 1);

	if (sys_prctl(UAPI_PR_SET_PDEATHSIG, KILL, 0) < 0 ||
	    sys_prctl(UAPI_PR_SET_DUMPABLE, 0, 0) < 0 ||
	    sys0(SYS_getppid) != 0 /* the launcher is outside */)
		sys_exit(LAUNCH_FAILED);
	sys3(SYS_close_range, 0, ~0U, 0);
	for (;;) {
		while (sys_wait4(-1, NULL, WALL | NO_HANG) > 0)
			continue;
		sys_sigwait(&child_status, NULL); /* all signals are blocked */
	}
}

int start_init(struct launch_state *launch)
{
	struct uapi_clone_args arguments = {
		.flags = UAPI_CLONE_NEWPID | UAPI_CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&launch->init_pidfd,
	};
	long pid;

	if (!(launch->plan->namespaces & UAPI_CLONE_NEWPID))
		return 0;
	pid = sys2(SYS_clone3, (long)&arguments, sizeof(arguments));
	if (pid == 0)
		be_init();
	if (pid == NO_PERMISSION)
		return refuse(launch, "a pid namespace takes CAP_SYS_ADMIN");
	if (pid < 0)
		return (int)pid;
	launch->init = (int)pid;
	return 0;
}

/* Where the launching thread's next children are born. */
static int set_birthplace(int pidfd)
{
	return (int)sys2(SYS_setns, pidfd, UAPI_CLONE_NEWPID);
}

int enter_pid_namespace(struct launch_state *launch)
{
	return launch->init == 0 ? 0 : set_birthplace(launch->init_pidfd);
}

int leave_pid_namespace(struct launch_state *launch)
{
	long self;
	int error;

	if (launch->init == 0)
		return 0;
	self = arch_syscall(SYS_pidfd_open, launch->child.launcher, 0, 0, 0, 0,
			    0);
	if (self < 0)
		return (int)self;
	error = set_birthplace((int)self);
	sys_close((int)self);
	return error;
}

/* And with it every process that the program left. */
void end_init(struct launch_state *launch)
{
	int status = STOPPED;

	if (launch->init == 0)
		return;
	if (sys_pidfd_kill(launch->init_pidfd, KILL) < 0)
		sys2(SYS_kill, launch->init, KILL);
	while ((status & 0xff) == STOPPED &&
	       sys_wait4(launch->init, &status, WALL) == launch->init)
		continue;
	sys_close(launch->init_pidfd);
	launch->init = 0;
}

static long write_file(const char *path, const struct text *text)
{
	long fd = sys_open(path, 02000001 /* O_WRONLY | O_CLOEXEC */);
	long written;

	if (fd < 0)
		return fd;
	written = sys_write((int)fd, text->at, text->size);
	sys_close((int)fd);
	return written < 0 ? written : 0;
}

/* The one user or group that is there outside is there inside, as itself. */
static long map_id(const char *path, uint64_t id)
{
	char line[64];
	struct text text = { line, sizeof(line), 0 };

	text_add_decimal(&text, id);
	text_add(&text, " ");
	text_add_decimal(&text, id);
	text_add(&text, " 1");
	return write_file(path, &text);
}

static long unshare_user(uint32_t kinds)
{
	char deny[] = "deny";
	struct text text = { deny, sizeof(deny), sizeof(deny) - 1 };
	long uid = sys0(SYS_geteuid);
	long gid = sys0(SYS_getegid);
	long error = sys1(SYS_unshare, kinds | UAPI_CLONE_NEWUSER);

	if (error == 0)
		error = write_file("/proc/self/setgroups", &text);
	if (error == 0)
		error = map_id("/proc/self/uid_map", (uint64_t)uid);
	return error != 0 ? error :
			    map_id("/proc/self/gid_map", (uint64_t)gid);
}

/* An ordinary user gets them together with a user namespace. */
long unshare_namespaces(struct child *child)
{
	uint32_t kinds = child->plan->namespaces & ~UAPI_CLONE_NEWPID;
	long error;

	if (kinds == 0)
		return 0;
	if (kinds & UAPI_CLONE_NEWUSER)
		return unshare_user(kinds);
	error = sys1(SYS_unshare, kinds);
	return error == NO_PERMISSION ? unshare_user(kinds) : error;
}
