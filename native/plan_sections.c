/* The sections of a plan that say what to run, and within which limits. */
#include <string.h>

#include "load.h"
#include "plan_sections.h"
#include "uapi.h"

int plan_read_program(const struct section *section, struct plan *plan,
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

int plan_read_digest(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	if (section->size != PLAN_DIGEST_SIZE)
		return found_size(fault_at(fault, "digest", "32 bytes",
					   section->offset), section->size);
	plan->digest = section->at;
	return 0;
}

int plan_read_filter(const struct section *section, struct plan *plan,
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

int plan_read_argv(const struct section *section, struct plan *plan,
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

int plan_read_environment(const struct section *section, struct plan *plan,
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

int plan_read_limits(const struct section *section, struct plan *plan,
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
