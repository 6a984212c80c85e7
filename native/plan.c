/* Are these bytes a launch plan?  Reads them, copies nothing, acts on nothing. */
#include "plan.h"

#include <string.h>

#include "load.h"
#include "uapi.h"

struct section {
	const uint8_t *at;
	size_t size;
	uint32_t offset;
};

static int fault_at(struct plan_fault *fault, const char *where,
		    const char *want, size_t offset)
{
	fault->where = where;
	fault->want = want;
	fault->offset = (uint32_t)offset;
	return -1;
}

/* Post: a header of this version, whose section table lies inside the file. */
static int read_header(const uint8_t *bytes, size_t size, struct plan *plan,
		       struct plan_fault *fault)
{
	uint32_t sections;

	if (size < PLAN_HEADER_SIZE || size > PLAN_MAX_SIZE)
		return fault_at(fault, "plan", "32 bytes to 4 MiB", 0);
	if (memcmp(bytes, PLAN_MAGIC, 8) != 0)
		return fault_at(fault, "header.magic", "SHIMPLAN", 0);
	if (load16_le(bytes + 8) != PLAN_VERSION)
		return fault_at(fault, "header.version", "1", 8);
	if (load16_le(bytes + 10) != 1)
		return fault_at(fault, "header.arch", "1 (x86-64)", 10);
	if (load32_le(bytes + 12) != size)
		return fault_at(fault, "header.size", "the file's size", 12);
	sections = load32_le(bytes + 16);
	if (sections > PLAN_KINDS ||
	    PLAN_HEADER_SIZE + sections * PLAN_ENTRY_SIZE > size)
		return fault_at(fault, "header.sections",
				"a table of at most 6 in the file", 16);
	plan->flags = load32_le(bytes + 20);
	if (plan->flags & ~(uint32_t)PLAN_ALL_FLAGS)
		return fault_at(fault, "header.flags", "known flags", 20);
	if (load64_le(bytes + 24) != 0)
		return fault_at(fault, "header.reserved", "0", 24);
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
			return fault_at(fault, "section.kind",
					"known kinds, increasing", at);
		if (load32_le(bytes + at + 4) != next)
			return fault_at(fault, "section.offset",
					"the end of the one before", at + 4);
		if (length == 0 || length > size - next)
			return fault_at(fault, "section.size",
					"at least a byte, inside the file",
					at + 8);
		if (load32_le(bytes + at + 12) != 0)
			return fault_at(fault, "section.reserved", "0",
					at + 12);
		sections[kind].at = bytes + next;
		sections[kind].size = length;
		sections[kind].offset = next;
		for (next += length; next % 8 != 0; next++)
			if (next >= size || bytes[next] != 0)
				return fault_at(fault, "section.padding",
						"zeros to a multiple of 8",
						next);
		previous = kind;
	}
	if (next != size)
		return fault_at(fault, "plan.end",
				"the end of the last section", next);
	return 0;
}

static int read_program(const struct section *section, struct plan *plan,
			struct plan_fault *fault)
{
	const char *path = (const char *)section->at;

	if (section->size < 3 || section->size > PLAN_MAX_PATH ||
	    path[0] != '/' ||
	    memchr(path, 0, section->size) != path + section->size - 1)
		return fault_at(fault, "program",
				"an absolute path and one NUL",
				section->offset);
	plan->program = path;
	return 0;
}

static int read_digest(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size != PLAN_DIGEST_SIZE)
		return fault_at(fault, "digest", "32 bytes", section->offset);
	plan->digest = section->at;
	return 0;
}

static int read_filter(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size % PLAN_INSTRUCTION_SIZE != 0 ||
	    section->size / PLAN_INSTRUCTION_SIZE > PLAN_MAX_FILTER)
		return fault_at(fault, "filter",
				"1 to 4096 instructions of 8 bytes",
				section->offset);
	plan->filter = section->at;
	plan->filter_count = section->size / PLAN_INSTRUCTION_SIZE;
	return 0;
}

/* Returns the number of strings in SECTION, or 0 if it is no list of them. */
static size_t count_strings(const struct section *section)
{
	size_t count = 0;

	if (section->at[section->size - 1] != 0)
		return 0;
	for (size_t i = 0; i < section->size; i++)
		count += section->at[i] == 0;
	return count <= PLAN_MAX_STRINGS ? count : 0;
}

static int read_argv(const struct section *section, struct plan *plan,
		     struct plan_fault *fault)
{
	plan->argc = count_strings(section);
	if (plan->argc == 0)
		return fault_at(fault, "argv",
				"1 to 65536 NUL-terminated strings",
				section->offset);
	plan->argv = (const char *)section->at;
	plan->argv_size = section->size;
	return 0;
}

/*
 * Names by which the C library lets the environment change what code runs
 * (ld.so(8), "ENVIRONMENT"; glibc, "Tunables"; iconv).  A profile assumes that
 * none is set.
 */
static int steers_loader(const char *entry)
{
	return strncmp(entry, "LD_", 3) == 0 ||
	       strncmp(entry, "GLIBC_TUNABLES=", 15) == 0 ||
	       strncmp(entry, "GCONV_PATH=", 11) == 0;
}

static int read_environment(const struct section *section, struct plan *plan,
			    struct plan_fault *fault)
{
	const char *entry = (const char *)section->at;
	const char *end = entry + section->size;

	plan->environment_count = count_strings(section);
	if (plan->environment_count == 0)
		return fault_at(fault, "environment",
				"1 to 65536 NUL-terminated strings",
				section->offset);
	for (; entry < end; entry += strlen(entry) + 1) {
		size_t at = section->offset +
			    (size_t)(entry - (const char *)section->at);

		if (entry[0] == '=' || strchr(entry, '=') == NULL)
			return fault_at(fault, "environment.entry",
					"NAME=VALUE", at);
		if (steers_loader(entry) &&
		    !(plan->flags & PLAN_LOADER_ENVIRONMENT))
			return fault_at(fault, "environment.loader",
					"no LD_*, GLIBC_TUNABLES, GCONV_PATH",
					at);
	}
	plan->environment = (const char *)section->at;
	plan->environment_size = section->size;
	return 0;
}

static int read_limits(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	uint32_t least = 0;

	if (section->size % PLAN_LIMIT_SIZE != 0)
		return fault_at(fault, "limits", "entries of 24 bytes",
				section->offset);
	plan->limits = section->at;
	plan->limit_count = section->size / PLAN_LIMIT_SIZE;
	for (size_t i = 0; i < plan->limit_count; i++) {
		const uint8_t *limit = section->at + i * PLAN_LIMIT_SIZE;
		size_t at = section->offset + i * PLAN_LIMIT_SIZE;
		uint32_t resource = load32_le(limit);

		/* Core dumps are the launcher's: always off. */
		if (resource < least || resource >= UAPI_RLIM_NLIMITS ||
		    resource == UAPI_RLIMIT_CORE)
			return fault_at(fault, "limits.resource",
					"known ones but CORE, increasing", at);
		if (load32_le(limit + 4) != 0)
			return fault_at(fault, "limits.reserved", "0", at + 4);
		if (load64_le(limit + 8) > load64_le(limit + 16))
			return fault_at(fault, "limits.soft",
					"at most the hard limit", at + 8);
		least = resource + 1;
	}
	return 0;
}

int plan_read(const uint8_t *bytes, size_t size, struct plan *plan,
	      struct plan_fault *fault)
{
	static const struct {
		int (*read)(const struct section *section, struct plan *plan,
			    struct plan_fault *fault);
		int required;
	} kinds[PLAN_KINDS + 1] = {
		[PLAN_PROGRAM] = { read_program, 1 },
		[PLAN_DIGEST] = { read_digest, 1 },
		[PLAN_FILTER] = { read_filter, 1 },
		[PLAN_ARGV] = { read_argv, 1 },
		[PLAN_ENVIRONMENT] = { read_environment, 0 },
		[PLAN_LIMITS] = { read_limits, 0 },
	};
	struct section sections[PLAN_KINDS + 1] = { 0 };

	memset(plan, 0, sizeof(*plan));
	if (read_header(bytes, size, plan, fault) != 0 ||
	    read_table(bytes, size, sections, fault) != 0)
		return -1;
	for (int kind = 1; kind <= PLAN_KINDS; kind++) {
		if (sections[kind].at == NULL && !kinds[kind].required)
			continue;
		if (sections[kind].at == NULL)
			return fault_at(fault, "sections",
					"program, digest, filter and argv",
					PLAN_HEADER_SIZE);
		if (kinds[kind].read(&sections[kind], plan, fault) != 0)
			return -1;
	}
	return 0;
}
