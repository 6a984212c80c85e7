/* Are these bytes a launch plan?  Reads them, copies nothing, acts on nothing. */
#include "plan.h"

#include <string.h>

#include "load.h"
#include "text.h"
#include "uapi.h"

#define QUOTED 48	/* bytes of a foreign string that a message shows */

struct section {
	const uint8_t *at;
	size_t size;
	uint32_t offset;
};

/* The caller then says in words what it found. */
static struct text fault_at(struct plan_fault *fault, const char *where,
			    const char *want, size_t offset)
{
	fault->where = where;
	fault->want = want;
	fault->offset = (uint32_t)offset;
	return (struct text){ fault->found, sizeof(fault->found), 0 };
}

static int found_text(struct text text, const char *found)
{
	text_add(&text, found);
	return -1;
}

static int found_number(struct text text, uint64_t found)
{
	text_add_decimal(&text, found);
	return -1;
}

/* Two numbers and what is between them: `5 after 7`. */
static int found_two(struct text text, uint64_t first, const char *relation,
		     uint64_t second, const char *unit)
{
	text_add_decimal(&text, first);
	text_add(&text, relation);
	text_add_decimal(&text, second);
	text_add(&text, unit);
	return -1;
}

static int found_flags(struct text text, uint32_t flags)
{
	text_add_hex(&text, flags);
	return -1;
}

static int found_size(struct text text, size_t size)
{
	text_add_decimal(&text, size);
	text_add(&text, " bytes");
	return -1;
}

static int found_bytes(struct text text, const void *bytes, size_t size)
{
	text_add_quoted(&text, bytes, size < QUOTED ? size : QUOTED);
	if (size > QUOTED)
		text_add(&text, "...");
	return -1;
}

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
					  "a table of at most 9 in the file",
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

static int read_program(const struct section *section, struct plan *plan,
			struct plan_fault *fault)
{
	const char *path = (const char *)section->at;

	if (section->size < 3 || section->size > PLAN_MAX_PATH ||
	    path[0] != '/' ||
	    memchr(path, 0, section->size) != path + section->size - 1)
		return found_bytes(fault_at(fault, "program",
					    "an absolute path of at most 4095 "
					    "bytes and one NUL",
					    section->offset),
				   path, section->size);
	plan->program = path;
	return 0;
}

static int read_digest(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size != PLAN_DIGEST_SIZE)
		return found_size(fault_at(fault, "digest", "32 bytes",
					   section->offset), section->size);
	plan->digest = section->at;
	return 0;
}

static int read_filter(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size % PLAN_INSTRUCTION_SIZE != 0 ||
	    section->size / PLAN_INSTRUCTION_SIZE > PLAN_MAX_FILTER)
		return found_size(fault_at(fault, "filter",
					   "1 to 4096 instructions of 8 bytes",
					   section->offset), section->size);
	plan->filter = section->at;
	plan->filter_count = section->size / PLAN_INSTRUCTION_SIZE;
	return 0;
}

/* How many strings are in SECTION?  They tile it. */
static int count_strings(const struct section *section, size_t *count,
			 const char *where, struct plan_fault *fault)
{
	*count = 0;
	for (size_t i = 0; i < section->size; i++)
		*count += section->at[i] == 0;
	if (section->at[section->size - 1] == 0 && *count <= PLAN_MAX_STRINGS)
		return 0;
	return found_two(fault_at(fault, where,
				  "1 to 65536 NUL-terminated strings",
				  section->offset),
			 *count, " NULs in ", section->size,
			 section->at[section->size - 1] == 0 ?
				 " bytes" : " bytes, and none at the end");
}

static int read_argv(const struct section *section, struct plan *plan,
		     struct plan_fault *fault)
{
	plan->argv = (const char *)section->at;
	plan->argv_size = section->size;
	return count_strings(section, &plan->argc, "argv", fault);
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

	if (count_strings(section, &plan->environment_count, "environment",
			  fault) != 0)
		return -1;
	for (; entry < end; entry += strlen(entry) + 1) {
		size_t at = section->offset +
			    (size_t)(entry - (const char *)section->at);

		if (entry[0] == '=' || strchr(entry, '=') == NULL)
			return found_bytes(fault_at(fault, "environment.entry",
						    "NAME=VALUE", at),
					   entry, strlen(entry));
		if (steers_loader(entry) &&
		    !(plan->flags & PLAN_LOADER_ENVIRONMENT))
			return found_bytes(fault_at(fault, "environment.loader",
						    "no LD_*, GLIBC_TUNABLES, "
						    "GCONV_PATH", at),
					   entry, strlen(entry));
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
		return found_size(fault_at(fault, "limits",
					   "entries of 24 bytes",
					   section->offset), section->size);
	plan->limits = section->at;
	plan->limit_count = section->size / PLAN_LIMIT_SIZE;
	for (size_t i = 0; i < plan->limit_count; i++) {
		const uint8_t *limit = section->at + i * PLAN_LIMIT_SIZE;
		size_t at = section->offset + i * PLAN_LIMIT_SIZE;
		uint32_t resource = load32_le(limit);

		/* Core dumps are the launcher's: always off. */
		if (resource < least || resource >= UAPI_RLIM_NLIMITS ||
		    resource == UAPI_RLIMIT_CORE)
			return found_number(fault_at(fault, "limits.resource",
						     "known ones but CORE (4), "
						     "increasing", at),
					    resource);
		if (load32_le(limit + 4) != 0)
			return found_number(fault_at(fault, "limits.reserved",
						     "0", at + 4),
					    load32_le(limit + 4));
		if (load64_le(limit + 8) > load64_le(limit + 16))
			return found_two(fault_at(fault, "limits.soft",
						  "at most the hard limit",
						  at + 8),
					 load64_le(limit + 8), " above ",
					 load64_le(limit + 16), "");
		least = resource + 1;
	}
	return 0;
}

static int read_entry_point(const struct section *section, struct plan *plan,
			    struct plan_fault *fault)
{
	if (section->size != PLAN_ENTRY_POINT_SIZE)
		return found_size(fault_at(fault, "entry-point", "8 bytes",
					   section->offset), section->size);
	plan->entry_point = load64_le(section->at);
	return 0;
}

static int read_relocations(const struct section *section, struct plan *plan,
			    struct plan_fault *fault)
{
	uint32_t least = 0;

	if (section->size % PLAN_RELOCATION_SIZE != 0)
		return found_size(fault_at(fault, "relocations",
					   "entries of 8 bytes",
					   section->offset), section->size);
	plan->relocations = section->at;
	plan->relocation_count = section->size / PLAN_RELOCATION_SIZE;
	for (size_t i = 0; i < plan->relocation_count; i++) {
		const uint8_t *entry = section->at + i * PLAN_RELOCATION_SIZE;
		size_t at = section->offset + i * PLAN_RELOCATION_SIZE;
		uint32_t index = load32_le(entry);

		if (index < least)
			return found_two(fault_at(fault, "relocations.index",
						  "instructions, increasing",
						  at),
					 index, " after ", least - 1, "");
		if (load16_le(entry + 4) >= PLAN_MOVED_KINDS ||
		    load16_le(entry + 6) >= PLAN_PART_KINDS)
			return found_two(fault_at(fault, "relocations.part",
						  "low (0), high (1) or size (2) "
						  "of program (0) or vdso (1)",
						  at),
					 load16_le(entry + 6), " of ",
					 load16_le(entry + 4), "");
		least = index + 1;
	}
	return 0;
}

/* Returns whether VALUE begins a page. */
static int is_page(uint64_t value)
{
	return value % PLAN_PAGE == 0;
}

static int read_sealed(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	uint64_t least = 0;

	if (section->size % PLAN_SEALED_SIZE != 0)
		return found_size(fault_at(fault, "sealed",
					   "entries of 16 bytes",
					   section->offset), section->size);
	plan->sealed = section->at;
	plan->sealed_count = section->size / PLAN_SEALED_SIZE;
	for (size_t i = 0; i < plan->sealed_count; i++) {
		const uint8_t *entry = section->at + i * PLAN_SEALED_SIZE;
		size_t at = section->offset + i * PLAN_SEALED_SIZE;
		uint64_t address = load64_le(entry);
		uint64_t size = load64_le(entry + 8);

		/* With a gap between two, or they would be one. */
		if (!is_page(address) || (i > 0 && address <= least))
			return found_two(fault_at(fault, "sealed.address",
						  "pages, increasing, with gaps",
						  at),
					 address, " after ", least, "");
		if (!is_page(size) || size == 0 || size > UINT64_MAX - address)
			return found_number(fault_at(fault, "sealed.size",
						     "whole pages", at + 8),
					    size);
		least = address + size;
	}
	return 0;
}

/* Relocations concern instructions that are there.  They and what is sealed need
 * the entry point, and nothing else does. */
static int match_moved(const struct section sections[PLAN_KINDS + 1],
		       const struct plan *plan, struct plan_fault *fault)
{
	const struct section *section = &sections[PLAN_RELOCATIONS];
	int moved = section->at != NULL || sections[PLAN_SEALED].at != NULL;
	const uint8_t *last;

	if (moved != (sections[PLAN_ENTRY_POINT].at != NULL))
		return found_text(fault_at(fault, "entry-point",
					   "one with relocations or seals, none "
					   "without", PLAN_HEADER_SIZE),
				  moved ? "none" : "one");
	if (section->at == NULL)
		return 0;
	last = section->at + section->size - PLAN_RELOCATION_SIZE;
	if (load32_le(last) < plan->filter_count)
		return 0;
	return found_two(fault_at(fault, "relocations.index",
				  "instructions of the filter",
				  section->offset + section->size -
				  PLAN_RELOCATION_SIZE),
			 load32_le(last), " in a filter of ",
			 plan->filter_count, "");
}

int plan_read(const uint8_t *bytes, size_t size, struct plan *plan,
	      struct plan_fault *fault)
{
	static const struct {
		int (*read)(const struct section *section, struct plan *plan,
			    struct plan_fault *fault);
		const char *absent;	/* or null: it may be absent */
	} kinds[PLAN_KINDS + 1] = {
		[PLAN_PROGRAM] = { read_program, "no program" },
		[PLAN_DIGEST] = { read_digest, "no digest" },
		[PLAN_FILTER] = { read_filter, "no filter" },
		[PLAN_ARGV] = { read_argv, "no argv" },
		[PLAN_ENVIRONMENT] = { read_environment, NULL },
		[PLAN_LIMITS] = { read_limits, NULL },
		[PLAN_ENTRY_POINT] = { read_entry_point, NULL },
		[PLAN_RELOCATIONS] = { read_relocations, NULL },
		[PLAN_SEALED] = { read_sealed, NULL },
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
	return match_moved(sections, plan, fault);
}
