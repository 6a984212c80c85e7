/*
 * A cgroup of the program's own, below one that the launcher may use: limits on
 * all that the program starts, and an end for all of it.
 */
#include <string.h>

#include "load.h"
#include "steps.h"
#include "text.h"

enum { NO_ENTRY = -2, NO_PERMISSION = -1, NO_ACCESS = -13, BUSY = -16,
       EXISTS = -17, READ_ONLY = -30, AT_DIRECTORY = 0x200,
       OPEN_DIRECTORY = 02200000 /* O_RDONLY | O_DIRECTORY | O_CLOEXEC */,
       OPEN_TO_WRITE = 02000001, OPEN_TO_READ = 02000000 };

/* Launching threads have numbers of their own, so the name is this launch's. */
static void name_of(char name[32])
{
	struct text text = { name, 32, 0 };

	text_add(&text, "shim-");
	text_add_decimal(&text, (uint64_t)sys0(SYS_gettid));
}

static long write_limit(const struct launch_state *launch, const char *file,
			const char *value)
{
	long fd = sys3(SYS_openat, launch->cgroup, (long)file, OPEN_TO_WRITE);
	long written;

	if (fd < 0)
		return fd;
	written = sys_write((int)fd, value, strlen(value));
	sys_close((int)fd);
	return written < 0 ? written : 0;
}

static long write_number(const struct launch_state *launch, const char *file,
			 uint64_t value)
{
	char digits[24];
	struct text text = { digits, sizeof(digits), 0 };

	text_add_decimal(&text, value);
	return write_limit(launch, file, digits);
}

/* A kernel file that is not there belongs to a controller that nobody enabled. */
static int limited(struct launch_state *launch, long error, const char *reason)
{
	if (error == NO_ENTRY)
		return refuse(launch, reason);
	return (int)error;
}

/* Nothing of it may go to swap instead, and it ends as a whole. */
static int limit_memory(struct launch_state *launch, uint64_t most)
{
	long error;

	if (most == 0)
		return 0;
	error = write_number(launch, "memory.max", most);
	if (error == 0)
		error = write_number(launch, "memory.oom.group", 1);
	if (error == 0) {
		error = write_number(launch, "memory.swap.max", 0);
		if (error == NO_ENTRY) /* a kernel without swap */
			error = 0;
	}
	return limited(launch, error, "no memory.max: write +memory to the "
		       "parent's cgroup.subtree_control");
}

static int limit_processes(struct launch_state *launch, uint64_t most)
{
	if (most == 0)
		return 0;
	return limited(launch, write_number(launch, "pids.max", most),
		       "no pids.max: write +pids to the parent's "
		       "cgroup.subtree_control");
}

static int limit_cpu(struct launch_state *launch, uint64_t quota,
		     uint64_t period)
{
	char value[48];
	struct text text = { value, sizeof(value), 0 };

	if (quota == 0)
		return 0;
	text_add_decimal(&text, quota);
	text_add(&text, " ");
	text_add_decimal(&text, period);
	return limited(launch, write_limit(launch, "cpu.max", value),
		       "no cpu.max: write +cpu to the parent's "
		       "cgroup.subtree_control");
}

static int open_parent(struct launch_state *launch, const char *path)
{
	struct { long type; long rest[32]; } facts = { 0, { 0 } };
	long fd = sys_open(path, OPEN_DIRECTORY);

	if (fd == NO_ENTRY)
		return refuse(launch, "the plan's cgroup is not there");
	if (fd < 0)
		return (int)fd;
	launch->cgroup_parent = (int)fd;
	if (sys2(SYS_fstatfs, fd, (long)&facts) < 0 ||
	    facts.type != UAPI_CGROUP2_SUPER_MAGIC)
		return refuse(launch, "the plan's cgroup is no directory of "
			      "cgroup v2");
	return 0;
}

static int make_directory(struct launch_state *launch)
{
	char name[32];
	long error;
	long fd;

	name_of(name);
	error = sys3(SYS_mkdirat, launch->cgroup_parent, (long)name, 0755);
	/* One that a launcher left that was killed, if nothing lives there. */
	if (error == EXISTS && sys3(SYS_unlinkat, launch->cgroup_parent,
				    (long)name, AT_DIRECTORY) == 0)
		error = sys3(SYS_mkdirat, launch->cgroup_parent, (long)name,
			     0755);
	if (error == NO_PERMISSION || error == NO_ACCESS || error == READ_ONLY)
		return refuse(launch, "this user may not make a cgroup below the "
			      "plan's");
	if (error < 0)
		return (int)error;
	fd = sys3(SYS_openat, launch->cgroup_parent, (long)name,
		  OPEN_DIRECTORY);
	if (fd < 0) {
		sys3(SYS_unlinkat, launch->cgroup_parent, (long)name,
		     AT_DIRECTORY);
		return (int)fd;
	}
	launch->cgroup = (int)fd;
	return 0;
}

int make_cgroup(struct launch_state *launch)
{
	const uint8_t *limits = launch->plan->cgroup;
	int outcome;

	if (limits == NULL)
		return 0;
	outcome = open_parent(launch, (const char *)limits + PLAN_CGROUP_SIZE);
	if (outcome == 0)
		outcome = make_directory(launch);
	if (outcome == 0)
		outcome = limit_memory(launch, load64_le(limits));
	if (outcome == 0)
		outcome = limit_processes(launch, load64_le(limits + 8));
	if (outcome == 0)
		outcome = limit_cpu(launch, load64_le(limits + 16),
				    load64_le(limits + 24));
	return outcome;
}

/* memory.events has a line "oom_kill N" among others. */
static int lacked_memory(const struct launch_state *launch)
{
	static const char counter[] = "oom_kill ";
	char events[512];
	long size;
	long fd = sys3(SYS_openat, launch->cgroup, (long)"memory.events",
		       OPEN_TO_READ);

	if (fd < 0)
		return 0; /* no such controller, so no such end */
	size = sys_read((int)fd, events, sizeof(events) - 1);
	sys_close((int)fd);
	events[size < 0 ? 0 : size] = 0;
	for (const char *at = events; *at != 0; at++)
		if (strncmp(at, counter, sizeof(counter) - 1) == 0)
			return at[sizeof(counter) - 1] != '0';
	return 0;
}

/* The kernel takes the directory away once the last process in it is dead. */
static void remove_directory(const struct launch_state *launch)
{
	static const struct timespec a_while = { 0, 1000000 };
	enum { MOST = 1000 };
	char name[32];

	name_of(name);
	for (int i = 0; i < MOST; i++) {
		if (sys3(SYS_unlinkat, launch->cgroup_parent, (long)name,
			 AT_DIRECTORY) != BUSY)
			return;
		sys2(SYS_nanosleep, (long)&a_while, 0);
	}
}

/* Pre: the program itself is reaped.  What it left behind ends here. */
void end_cgroup(struct launch_state *launch)
{
	if (launch->cgroup >= 0) {
		(void)write_number(launch, "cgroup.kill", 1); /* v5.14 */
		launch->result->out_of_memory = lacked_memory(launch);
		sys_close(launch->cgroup);
		remove_directory(launch);
	}
	if (launch->cgroup_parent >= 0)
		sys_close(launch->cgroup_parent);
}
