/* The sections of a plan that say what the program may reach, as whom, and where. */
#include <string.h>

#include "load.h"
#include "plan_sections.h"
#include "uapi.h"

int plan_read_landlock(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	static const uint64_t known[3] = { UAPI_LANDLOCK_FILES,
					   UAPI_LANDLOCK_NETWORK,
					   UAPI_LANDLOCK_SCOPES };
	uint64_t any = 0;

	if (section->size != PLAN_LANDLOCK_SIZE)
		return found_size(fault_at(fault, "landlock", "24 bytes",
					   section->offset), section->size);
	for (size_t i = 0; i < 3; i++) {
		uint64_t handled = load64_le(section->at + 8 * i);

		if (handled & ~known[i])
			return found_number(fault_at(fault, "landlock.handled",
						     "rights that Linux 6.18 has",
						     section->offset + 8 * i),
					    handled);
		any |= handled;
	}
	if (any == 0)
		return found_number(fault_at(fault, "landlock.handled",
					     "something", section->offset), 0);
	plan->landlock = section->at;
	return 0;
}

/* Each entry tiles a multiple of 8 bytes: its rights, its path, zeros. */
int plan_read_paths(const struct section *section, struct plan *plan,
		    struct plan_fault *fault)
{
	size_t next = 0;

	while (next < section->size) {
		const uint8_t *path = section->at + next + 8;
		size_t left = section->size - next;
		size_t at = section->offset + next;
		const uint8_t *end = left <= 8 ? NULL :
				     memchr(path, 0, left - 8);
		size_t size;

		if (end == NULL || path[0] != '/' ||
		    end - path >= PLAN_MAX_PATH)
			return found_size(fault_at(fault, "paths.path",
						   "rights, an absolute path of "
						   "at most 4095 bytes and one "
						   "NUL", at), left);
		size = 8 + (size_t)(end - path) + 1;
		for (; size % 8 != 0; size++)
			if (size >= left || section->at[next + size] != 0)
				return found_size(fault_at(fault, "paths.padding",
							   "zeros to a multiple "
							   "of 8", at), left);
		if (load64_le(section->at + next) == 0)
			return found_number(fault_at(fault, "paths.rights",
						     "a right", at), 0);
		next += size;
	}
	plan->paths = section->at;
	plan->paths_size = section->size;
	return 0;
}

int plan_read_ports(const struct section *section, struct plan *plan,
		    struct plan_fault *fault)
{
	uint64_t least = 0;

	if (section->size % PLAN_PORT_SIZE != 0)
		return found_size(fault_at(fault, "ports", "entries of 16 bytes",
					   section->offset), section->size);
	plan->ports = section->at;
	plan->port_count = section->size / PLAN_PORT_SIZE;
	for (size_t i = 0; i < plan->port_count; i++) {
		const uint8_t *entry = section->at + i * PLAN_PORT_SIZE;
		size_t at = section->offset + i * PLAN_PORT_SIZE;
		uint64_t port = load64_le(entry + 8);

		if (load64_le(entry) == 0)
			return found_number(fault_at(fault, "ports.rights",
						     "a right", at), 0);
		if (port < least || port > 65535)
			return found_number(fault_at(fault, "ports.port",
						     "0 to 65535, increasing",
						     at + 8), port);
		least = port + 1;
	}
	return 0;
}

int plan_read_identity(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size != PLAN_IDENTITY_SIZE)
		return found_size(fault_at(fault, "identity", "8 bytes",
					   section->offset), section->size);
	for (size_t i = 0; i < 2; i++)
		if (load32_le(section->at + 4 * i) == UINT32_MAX)
			return found_number(fault_at(fault, "identity.id",
						     "at most 4294967294",
						     section->offset + 4 * i),
					    UINT32_MAX);
	plan->identity = section->at;
	return 0;
}

int plan_read_namespaces(const struct section *section, struct plan *plan,
			 struct plan_fault *fault)
{
	uint32_t kinds;

	if (section->size != PLAN_NAMESPACES_SIZE)
		return found_size(fault_at(fault, "namespaces", "8 bytes",
					   section->offset), section->size);
	kinds = load32_le(section->at);
	if (kinds == 0 || kinds & ~UAPI_CLONE_NAMESPACES ||
	    load32_le(section->at + 4) != 0)
		return found_two(fault_at(fault, "namespaces.kinds",
					  "CLONE_NEW of cgroup, uts, ipc, user, "
					  "pid, net or mount, and 0",
					  section->offset),
				 kinds, " and ", load32_le(section->at + 4), "");
	plan->namespaces = kinds;
	return 0;
}

int plan_read_timeout(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	if (section->size != PLAN_TIMEOUT_SIZE)
		return found_size(fault_at(fault, "timeout", "8 bytes",
					   section->offset), section->size);
	plan->timeout = load64_le(section->at);
	if (plan->timeout == 0 || plan->timeout > INT64_MAX)
		return found_number(fault_at(fault, "timeout",
					     "1 to 9223372036854775807 "
					     "nanoseconds", section->offset),
				    plan->timeout);
	return 0;
}

/* Limits as the kernel's files take them: a period of 1 ms to 1 s and at least
 * 1 ms of it (kernel/sched/core.c tg_set_cfs_bandwidth, v6.18). */
int plan_read_cgroup(const struct section *section, struct plan *plan,
		     struct plan_fault *fault)
{
	const uint8_t *path = section->at + PLAN_CGROUP_SIZE;
	uint64_t memory;
	uint64_t processes;
	uint64_t quota;
	uint64_t period;

	if (section->size < PLAN_CGROUP_SIZE + 2 ||
	    section->size > PLAN_CGROUP_SIZE + PLAN_MAX_PATH)
		return found_size(fault_at(fault, "cgroup",
					   "32 bytes, a path of at most 4095 "
					   "bytes and one NUL",
					   section->offset), section->size);
	if (path[0] != '/' || memchr(path, 0, section->size - PLAN_CGROUP_SIZE) !=
			      section->at + section->size - 1)
		return found_bytes(fault_at(fault, "cgroup.path",
					    "an absolute path and one NUL at its "
					    "end", section->offset +
					    PLAN_CGROUP_SIZE),
				   path, section->size - PLAN_CGROUP_SIZE);
	memory = load64_le(section->at);
	processes = load64_le(section->at + 8);
	quota = load64_le(section->at + 16);
	period = load64_le(section->at + 24);
	if (memory > INT64_MAX || processes > PLAN_MAX_PROCESSES)
		return found_two(fault_at(fault, "cgroup.limits",
					  "less than 2^63 bytes and at most 4194304 "
					  "processes", section->offset),
				 memory, " and ", processes, "");
	if ((quota == 0) != (period == 0) ||
	    (quota != 0 && (quota < 1000 || quota > PLAN_MAX_QUOTA ||
			    period < 1000 || period > 1000000)))
		return found_two(fault_at(fault, "cgroup.cpu",
					  "1000 to 17592186044415 of 1000 to 1000000 "
					  "microseconds, or 0 of 0",
					  section->offset + 16),
				 quota, " of ", period, "");
	plan->cgroup = section->at;
	return 0;
}

/* Rights are given only of what Landlock handles. */
int plan_match_confined(const struct section sections[PLAN_KINDS + 1],
			const struct plan *plan, struct plan_fault *fault)
{
	uint64_t files = 0;
	uint64_t network = 0;

	if (plan->landlock != NULL) {
		files = load64_le(plan->landlock);
		network = load64_le(plan->landlock + 8);
	}
	for (size_t at = 0; at < plan->paths_size;) {
		const uint8_t *entry = plan->paths + at;
		uint64_t rights = load64_le(entry);

		if (rights & ~files)
			return found_number(fault_at(fault, "paths.rights",
						     "rights that landlock "
						     "handles",
						     sections[PLAN_PATHS].offset +
						     at), rights);
		at += plan_path_size(entry);
	}
	for (size_t i = 0; i < plan->port_count; i++) {
		uint64_t rights = load64_le(plan->ports + i * PLAN_PORT_SIZE);

		if (rights & ~network)
			return found_number(fault_at(fault, "ports.rights",
						     "rights that landlock "
						     "handles",
						     sections[PLAN_PORTS].offset +
						     i * PLAN_PORT_SIZE), rights);
	}
	return 0;
}
