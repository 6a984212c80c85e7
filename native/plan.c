/* Are these bytes a launch plan?  Reads them, copies nothing, acts on nothing. */
#include "plan.h"

#include <string.h>

#include "load.h"
#include "plan_sections.h"

/* Is there one answer to refused calls?  What is only audited can be execve. */
static int answers_once(uint32_t flags)
{
	uint32_t answers = flags & (PLAN_NO_EVENTS | PLAN_ERRNO | PLAN_AUDIT);

	return (answers & (answers - 1)) == 0 &&
	       (!(flags & PLAN_AUDIT) || flags & PLAN_EXEC_ALLOWED);
}

/* Post: a header of this version, whose section table lies inside the file. */
static int read_header(const uint8_t *bytes, size_t size, struct plan *plan,
		       struct plan_fault *fault)
{
	uint32_t sections;

	if (size > PLAN_MAX_SIZE)
		return found_text(fault_at(fault, "plan", "32 bytes to 4 MiB", 0),
				  "more than 4 MiB");
	if (size < PLAN_HEADER_SIZE)
		return found_size(fault_at(fault, "plan", "32 bytes to 4 MiB", 0),
				  size);
	if (memcmp(bytes, PLAN_MAGIC, 8) != 0)
		return found_bytes(fault_at(fault, "header.magic", "'SHIMPLAN'",
					    0), bytes, 8);
	if (load16_le(bytes + 8) != PLAN_VERSION)
		return found_number(fault_at(fault, "header.version", "1", 8),
				    load16_le(bytes + 8));
	if (load16_le(bytes + 10) != 1)
		return found_number(fault_at(fault, "header.arch", "1 (x86-64)",
					     10), load16_le(bytes + 10));
	if (load32_le(bytes + 12) != size)
		return found_two(fault_at(fault, "header.size",
					  "the file's size", 12),
				 load32_le(bytes + 12), " in a file of ", size,
				 " bytes");
	sections = load32_le(bytes + 16);
	if (sections > PLAN_KINDS ||
	    PLAN_HEADER_SIZE + sections * PLAN_ENTRY_SIZE > size)
		return found_two(fault_at(fault, "header.sections",
					  "a table of at most 25 in the file",
					  16),
				 sections, " in a file of ", size, " bytes");
	plan->flags = load32_le(bytes + 20);
	if (plan->flags & ~(uint32_t)PLAN_ALL_FLAGS)
		return found_flags(fault_at(fault, "header.flags",
					    "known flags", 20), plan->flags);
	if (!answers_once(plan->flags))
		return found_flags(fault_at(fault, "header.flags",
					    "one answer to refused calls, and "
					    "exec allowed with audit", 20),
				   plan->flags);
	if (load64_le(bytes + 24) != 0)
		return found_number(fault_at(fault, "header.reserved", "0", 24),
				    load64_le(bytes + 24));
	return 0;
}

/* Move NEXT to a multiple of 8, over zeros. */
static int read_padding(const uint8_t *bytes, size_t size, uint32_t *next,
			struct plan_fault *fault)
{
	for (; *next % 8 != 0; ++*next) {
		if (*next >= size)
			return found_text(fault_at(fault, "section.padding",
						   "zeros to a multiple of 8",
						   *next), "the end of the file");
		if (bytes[*next] != 0)
			return found_two(fault_at(fault, "section.padding",
						  "zeros to a multiple of 8",
						  *next),
					 bytes[*next], " at ", *next, "");
	}
	return 0;
}

/* Pre: read_header succeeded.  Post: the sections found tile the file. */
static int read_table(const uint8_t *bytes, size_t size,
		      struct section sections[PLAN_KINDS + 1],
		      struct plan_fault *fault)
{
	uint32_t count = load32_le(bytes + 16);
	uint32_t next = PLAN_HEADER_SIZE + count * PLAN_ENTRY_SIZE;
	uint32_t previous = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = PLAN_HEADER_SIZE + i * PLAN_ENTRY_SIZE;
		uint32_t kind = load32_le(bytes + at);
		uint32_t length = load32_le(bytes + at + 8);

		if (kind <= previous || kind > PLAN_KINDS)
			return found_two(fault_at(fault, "section.kind",
						  "known kinds, increasing", at),
					 kind, " after ", previous, "");
		if (load32_le(bytes + at + 4) != next)
			return found_two(fault_at(fault, "section.offset",
						  "the end of the one before",
						  at + 4),
					 load32_le(bytes + at + 4),
					 " after an end at ", next, "");
		if (length == 0 || length > size - next)
			return found_two(fault_at(fault, "section.size",
						  "at least a byte, inside the "
						  "file", at + 8),
					 length, " with ", size - next,
					 " bytes left");
		if (load32_le(bytes + at + 12) != 0)
			return found_number(fault_at(fault, "section.reserved",
						     "0", at + 12),
					    load32_le(bytes + at + 12));
		sections[kind].at = bytes + next;
		sections[kind].size = length;
		sections[kind].offset = next;
		next += length;
		if (read_padding(bytes, size, &next, fault) != 0)
			return -1;
		previous = kind;
	}
	if (next != size)
		return found_two(fault_at(fault, "plan.end",
					  "the end of the last section", next),
				 size, " after an end at ", next, "");
	return 0;
}

int plan_read(const uint8_t *bytes, size_t size, struct plan *plan,
	      struct plan_fault *fault)
{
	static const struct {
		plan_reader *read;
		const char *absent;	/* or null: it may be absent */
	} kinds[PLAN_KINDS + 1] = {
		[PLAN_PROGRAM] = { plan_read_program, "no program" },
		[PLAN_DIGEST] = { plan_read_digest, "no digest" },
		[PLAN_FILTER] = { plan_read_filter, "no filter" },
		[PLAN_ARGV] = { plan_read_argv, "no argv" },
		[PLAN_ENVIRONMENT] = { plan_read_environment, NULL },
		[PLAN_LIMITS] = { plan_read_limits, NULL },
		[PLAN_ENTRY_POINT] = { plan_read_entry_point, NULL },
		[PLAN_RELOCATIONS] = { plan_read_relocations, NULL },
		[PLAN_SEALED] = { plan_read_sealed, NULL },
		[PLAN_OBJECTS] = { plan_read_objects, NULL },
		[PLAN_OBJECT_SEALS] = { plan_read_object_seals, NULL },
		[PLAN_STAGES] = { plan_read_stages, NULL },
		[PLAN_STAGE_FILTERS] = { plan_read_stage_filters, NULL },
		[PLAN_STAGE_RELOCATIONS] = { plan_read_stage_relocations, NULL },
		[PLAN_LANDLOCK] = { plan_read_landlock, NULL },
		[PLAN_PATHS] = { plan_read_paths, NULL },
		[PLAN_PORTS] = { plan_read_ports, NULL },
		[PLAN_IDENTITY] = { plan_read_identity, NULL },
		[PLAN_NAMESPACES] = { plan_read_namespaces, NULL },
		[PLAN_TIMEOUT] = { plan_read_timeout, NULL },
		[PLAN_CGROUP] = { plan_read_cgroup, NULL },
		[PLAN_MODULES] = { plan_read_modules, NULL },
		[PLAN_NETWORK] = { plan_read_network, NULL },
		[PLAN_HOSTNAME] = { plan_read_hostname, NULL },
		[PLAN_CHANNEL] = { plan_read_channel, NULL },
	};
	struct section sections[PLAN_KINDS + 1] = { 0 };

	memset(plan, 0, sizeof(*plan));
	if (read_header(bytes, size, plan, fault) != 0 ||
	    read_table(bytes, size, sections, fault) != 0)
		return -1;
	for (int kind = 1; kind <= PLAN_KINDS; kind++) {
		if (sections[kind].at == NULL && kinds[kind].absent == NULL)
			continue;
		if (sections[kind].at == NULL)
			return found_text(fault_at(fault, "sections",
						   "program, digest, filter and "
						   "argv", PLAN_HEADER_SIZE),
					  kinds[kind].absent);
		if (kinds[kind].read(&sections[kind], plan, fault) != 0)
			return -1;
	}
	if (plan_match_moved(sections, plan, fault) != 0)
		return -1;
	if (plan_match_confined(sections, plan, fault) != 0)
		return -1;
	return plan_match_machine(sections, plan, fault);
}
