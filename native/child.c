/*
 * What the child does before it becomes the program.  It runs in its parent's
 * memory, beside its parent: raw system calls and its own stack only.
 */
#include "load.h"
#include "steps.h"

/* Die with the launcher, also before it traces us.  The order closes the gap:
 * a launcher that died before the prctl is no longer our parent. */
static long die_with_launcher(struct child *child)
{
	long error = sys_prctl(UAPI_PR_SET_PDEATHSIG, 9 /* SIGKILL */, 0);

	if (error < 0)
		return error;
	/* From a pid namespace of its own the launcher cannot be seen. */
	return sys0(SYS_getppid) ==
	       (child->plan->namespaces & UAPI_CLONE_NEWPID ?
		0 : child->launcher) ? 0 : -3 /* ESRCH */;
}

static long wait_until_traced(struct child *child)
{
	while (__atomic_load_n(&child->go, __ATOMIC_ACQUIRE) == 0)
		sys_futex(&child->go, UAPI_FUTEX_WAIT_PRIVATE, 0);
	return 0;
}

static long leave_session(struct child *child)
{
	long session;

	if (!(child->plan->flags & PLAN_NEW_SESSION))
		return 0;
	session = sys0(SYS_setsid);
	return session < 0 ? session : 0;
}

static long refuse_new_privileges(struct child *child)
{
	(void)child; /* the same for every plan */
	return sys_prctl(UAPI_PR_SET_NO_NEW_PRIVS, 1, 0);
}

/* Being uid 0 means nothing from here on, and cannot mean anything again. */
static long lock_securebits(void)
{
	enum { GET_SECUREBITS = 27 };
	long bits = sys_prctl(GET_SECUREBITS, 0, 0);

	if (bits < 0)
		return bits;
	return sys_prctl(UAPI_PR_SET_SECUREBITS,
			 (unsigned long)bits | UAPI_SECUREBITS_ALL_LOCKED, 0);
}

static long drop_bounding_set(void)
{
	enum { INVALID = -22, LAST_POSSIBLE = 63 };
	long error = 0;

	for (unsigned long cap = 0; error == 0 && cap <= LAST_POSSIBLE; cap++)
		error = sys_prctl(UAPI_PR_CAPBSET_DROP, cap, 0);
	/* The kernel's way to say: no such capability. */
	return error == INVALID ? 0 : error;
}

static long drop_capabilities(struct child *child)
{
	struct uapi_cap_header header = { UAPI_CAPABILITY_VERSION_3, 0 };
	struct uapi_cap_data data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	long error = sys2(SYS_capget, (long)&header, (long)data);

	if (error < 0)
		return error;
	if (data[0].effective & 1U << UAPI_CAP_SETPCAP) {
		error = lock_securebits();
		/* The bounding set only limits what exec and the inheritable
		 * set can bring: a program that may not exec, with no
		 * permitted capability, has no use for it, and dropping it
		 * takes 41 calls of 1 us. */
		if (error == 0 && child->plan->flags & PLAN_EXEC_ALLOWED)
			error = drop_bounding_set();
	}
	if (error < 0)
		return error;
	/* Takes the ambient set along, which the kernel keeps within the other
	 * two (security/commoncap.c cap_capset, v6.18). */
	data[0] = data[1] = (struct uapi_cap_data){ 0, 0, 0 };
	return sys2(SYS_capset, (long)&header, (long)data);
}

static long set_limit(uint32_t resource, struct uapi_rlimit limit)
{
	return arch_syscall(SYS_prlimit64, 0, resource, (long)&limit, 0, 0, 0);
}

/* A limit of 1 byte, not 0: the kernel still feeds a core pattern that is a
 * pipe when the limit is 0, but not when it is 1 (fs/coredump.c, v6.18). */
static long refuse_core_dumps(void)
{
	struct uapi_rlimit now;
	long error = arch_syscall(SYS_prlimit64, 0, UAPI_RLIMIT_CORE, 0,
				  (long)&now, 0, 0);
	uint64_t size = now.hard < 1 ? 0 : 1;

	if (error < 0)
		return error;
	return set_limit(UAPI_RLIMIT_CORE, (struct uapi_rlimit){ size, size });
}

static long set_limits(struct child *child)
{
	long error = refuse_core_dumps();

	for (size_t i = 0; error == 0 && i < child->plan->limit_count; i++) {
		const uint8_t *limit = child->plan->limits +
				       i * PLAN_LIMIT_SIZE;

		error = set_limit(load32_le(limit), (struct uapi_rlimit){
			load64_le(limit + 8), load64_le(limit + 16) });
	}
	return error;
}

/* Handlers vanish at exec, but ignored signals stay ignored.  The mask stays
 * full until the launcher lets go, and is emptied then.  Real-time signals
 * too: some environments hand signal 32 down ignored. */
static long reset_dispositions(struct child *child)
{
	static const struct uapi_sigaction standard; /* SIG_DFL */
	long error = 0;

	(void)child; /* the same for every plan */
	for (int signal = 1; error == 0 && signal <= UAPI_NSIG; signal++)
		if (signal != 9 /* SIGKILL */ && signal != 19 /* SIGSTOP */)
			error = sys_sigaction(signal, &standard, NULL);
	return error;
}

/* What a machine's first process has for the program, in numbers that the
 * program knows.  Its own copies are closed with all others. */
static long take_files(struct child *child)
{
	const struct launch_machine *machine = child->machine;
	long error = 0;

	if (machine == NULL)
		return 0;
	for (int fd = 0; fd < 3 && error >= 0; fd++)
		if (machine->streams[fd] >= 0)
			error = sys3(SYS_dup3, machine->streams[fd], fd, 0);
	if (error >= 0 && machine->secret == PLAN_SECRET_FILE)
		error = sys3(SYS_fcntl, PLAN_SECRET_FILE, 2 /* F_SETFD */, 0);
	else if (error >= 0 && machine->secret >= 0)
		error = sys3(SYS_dup3, machine->secret, PLAN_SECRET_FILE, 0);
	return error < 0 ? error : 0;
}

static long close_files(struct child *child)
{
	int secret = child->machine != NULL && child->machine->secret >= 0;

	return sys3(SYS_close_range, PLAN_SECRET_FILE + secret, ~0U,
		    UAPI_CLOSE_RANGE_CLOEXEC);
}

/* Before the capabilities go that it takes.  The kernel forgets at each change
 * of identity whom a process dies with. */
static long change_identity(struct child *child)
{
	const uint8_t *identity = child->plan->identity;
	uint32_t uid;
	uint32_t gid;
	long error;

	if (identity == NULL)
		return 0;
	uid = load32_le(identity);
	gid = load32_le(identity + 4);
	error = sys2(SYS_setgroups, 0, 0);
	if (error == 0)
		error = sys3(SYS_setresgid, gid, gid, gid);
	if (error == 0)
		error = sys3(SYS_setresuid, uid, uid, uid);
	return error < 0 ? error : die_with_launcher(child);
}

/* Returns a file of its own that nobody can change, or -errno. */
static long copy_program(const char *path)
{
	enum { EXECUTABLE = 0x10, INVALID = -22, ADD_SEALS = 1033,
	       SEALS = 0xf /* seal, shrink, grow, write */, AT_ONCE = 1 << 20 };
	unsigned flags = 3 /* MFD_CLOEXEC | MFD_ALLOW_SEALING */;
	long from = sys_open(path, 02000000 /* O_RDONLY | O_CLOEXEC */);
	long copy;
	long size;

	if (from < 0)
		return from;
	copy = sys2(SYS_memfd_create, (long)"program", flags | EXECUTABLE);
	if (copy == INVALID) /* before v6.3 */
		copy = sys2(SYS_memfd_create, (long)"program", flags);
	if (copy < 0)
		return copy;
	do
		size = arch_syscall(SYS_sendfile, copy, from, 0, AT_ONCE, 0, 0);
	while (size > 0);
	sys_close((int)from);
	if (size == 0)
		size = sys3(SYS_fcntl, copy, ADD_SEALS, SEALS);
	return size < 0 ? size : copy;
}

static long become_copy(struct child *child)
{
	long copy = copy_program(child->plan->program);

	if (copy < 0)
		return copy;
	return arch_syscall(SYS_execveat, copy, (long)"", (long)child->argv,
			    (long)child->environment, UAPI_AT_EMPTY_PATH, 0);
}

static long become_program(struct child *child)
{
	if (child->plan->flags & PLAN_COPY)
		return become_copy(child);
	return sys3(SYS_execve, (long)child->plan->program, (long)child->argv,
		    (long)child->environment);
}

static const struct {
	const char *name;
	long (*run)(struct child *child);
} child_steps[] = {
	{ "die-with-launcher", die_with_launcher },
	{ "wait-until-traced", wait_until_traced },
	{ "leave-session", leave_session },
	{ "unshare-namespaces", unshare_namespaces },
	/* Before capabilities: from here on exec raises nothing. */
	{ "refuse-new-privileges", refuse_new_privileges },
	{ "confine", confine },
	{ "change-identity", change_identity },
	{ "drop-capabilities", drop_capabilities },
	/* After capabilities: a plan lowers limits, it cannot raise them. */
	{ "set-limits", set_limits },
	{ "reset-dispositions", reset_dispositions },
	{ "take-files", take_files },
	{ "close-files", close_files },
	{ "exec", become_program },
};

void child_main(void *argument)
{
	struct child *child = argument;

	for (size_t i = 0; i < sizeof(child_steps) / sizeof(child_steps[0]);
	     i++) {
		child->error = child_steps[i].run(child);
		if (child->error < 0) {
			child->step = child_steps[i].name;
			break;
		}
	}
	sys_exit(LAUNCH_FAILED); /* a successful exec does not come here */
}
