/*
 * Landlock in the child: what the plan handles is denied but for what its rules
 * give back.  What the kernel does not know is left out, and that is told.
 */
#include <string.h>

#include "load.h"
#include "steps.h"

/* linux/landlock.h: what a rule for something else than a directory may give */
#define FILE_RIGHTS 0xc007U	/* execute, write, read, truncate, ioctl on devices */

/* Documentation/userspace-api/landlock.rst, v6.18, "Kernel support" */
static struct uapi_landlock_ruleset_attr supported(long abi)
{
	return (struct uapi_landlock_ruleset_attr){
		abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : abi >= 2 ? 0x3fff :
			   0x1fff,
		abi >= 4 ? UAPI_LANDLOCK_NETWORK : 0,
		abi >= 6 ? UAPI_LANDLOCK_SCOPES : 0,
	};
}

static long landlock_abi(void)
{
	return sys3(UAPI_NR_landlock_create_ruleset, 0, 0,
		    UAPI_LANDLOCK_CREATE_RULESET_VERSION);
}

static int is_directory(int fd)
{
	struct uapi_statx facts;

	return sys_statx(fd, UAPI_STATX_TYPE, &facts) == 0 &&
	       (facts.mode & 0170000) == 0040000;
}

static long add_path(int ruleset, const char *path, uint64_t rights)
{
	struct uapi_landlock_path_beneath_attr rule;
	long fd = sys_open(path, 012000000 /* O_PATH | O_CLOEXEC */);
	long error;

	if (fd < 0)
		return fd;
	rule.allowed_access = is_directory((int)fd) ? rights :
						      rights & FILE_RIGHTS;
	rule.parent_fd = (int32_t)fd;
	error = rule.allowed_access == 0 ? 0 :
		arch_syscall(UAPI_NR_landlock_add_rule, ruleset,
			     UAPI_LANDLOCK_RULE_PATH_BENEATH, (long)&rule, 0, 0,
			     0);
	sys_close((int)fd);
	return error;
}

static long add_rules(int ruleset, const struct plan *plan,
		      const struct uapi_landlock_ruleset_attr *handled)
{
	long error = 0;

	for (size_t at = 0; at < plan->paths_size && error == 0;) {
		const char *path = (const char *)plan->paths + at + 8;
		uint64_t rights = load64_le(plan->paths + at) &
				  handled->handled_access_fs;

		error = add_path(ruleset, path, rights);
		at += plan_path_size(plan->paths + at);
	}
	for (size_t i = 0; i < plan->port_count && error == 0; i++) {
		const uint8_t *entry = plan->ports + i * PLAN_PORT_SIZE;
		struct uapi_landlock_net_port_attr rule = {
			load64_le(entry) & handled->handled_access_net,
			load64_le(entry + 8),
		};

		if (rule.allowed_access != 0)
			error = arch_syscall(UAPI_NR_landlock_add_rule, ruleset,
					     UAPI_LANDLOCK_RULE_NET_PORT,
					     (long)&rule, 0, 0, 0);
	}
	return error;
}

/* Pre: no_new_privs is set. */
long confine(struct child *child)
{
	enum { NO_SUCH_CALL = -38, SWITCHED_OFF = -95 };
	const struct plan *plan = child->plan;
	struct uapi_landlock_ruleset_attr handled;
	struct uapi_landlock_ruleset_attr known;
	long abi;
	long ruleset;
	long error;

	if (plan->landlock == NULL)
		return 0;
	memset(&known, 0, sizeof(known));
	abi = landlock_abi();
	if (abi < 0 && abi != NO_SUCH_CALL && abi != SWITCHED_OFF)
		return abi; /* no answer is not the answer that there is none */
	if (abi > 0)
		known = supported(abi);
	handled.handled_access_fs = load64_le(plan->landlock);
	handled.handled_access_net = load64_le(plan->landlock + 8);
	handled.scoped = load64_le(plan->landlock + 16);
	child->unconfined =
		(handled.handled_access_fs & ~known.handled_access_fs ?
			 LAUNCH_FILES : 0) |
		(handled.handled_access_net & ~known.handled_access_net ?
			 LAUNCH_NETWORK : 0) |
		(handled.scoped & ~known.scoped ? LAUNCH_SCOPES : 0);
	if (child->unconfined != 0 && plan->flags & PLAN_REQUIRE_LANDLOCK)
		return abi < 0 ? abi : NO_SUCH_CALL;
	handled.handled_access_fs &= known.handled_access_fs;
	handled.handled_access_net &= known.handled_access_net;
	handled.scoped &= known.scoped;
	if ((handled.handled_access_fs | handled.handled_access_net |
	     handled.scoped) == 0)
		return 0;
	ruleset = sys3(UAPI_NR_landlock_create_ruleset, (long)&handled,
		       sizeof(handled), 0);
	if (ruleset < 0)
		return ruleset;
	error = add_rules((int)ruleset, plan, &handled);
	if (error == 0)
		error = sys2(UAPI_NR_landlock_restrict_self, ruleset, 0);
	sys_close((int)ruleset);
	return error;
}
