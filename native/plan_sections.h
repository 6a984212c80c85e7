/* What the files that read a plan share: sections, and words for what is wrong. */
#ifndef SHIM_PLAN_SECTIONS_H
#define SHIM_PLAN_SECTIONS_H

#include "plan.h"
#include "text.h"

struct section {
	const uint8_t *at;
	size_t size;
	uint32_t offset;
};

/* plan_fault.c: the caller then says in words what it found; each returns -1. */
struct text fault_at(struct plan_fault *fault, const char *where,
		     const char *want, size_t offset);
int found_text(struct text text, const char *found);
int found_number(struct text text, uint64_t found);
int found_two(struct text text, uint64_t first, const char *relation,
	      uint64_t second, const char *unit);
int found_flags(struct text text, uint32_t flags);
int found_size(struct text text, size_t size);
int found_bytes(struct text text, const void *bytes, size_t size);

typedef int plan_reader(const struct section *section, struct plan *plan,
			struct plan_fault *fault);

/* plan_sections.c: what to run, and within which limits */
plan_reader plan_read_program, plan_read_digest, plan_read_filter,
	plan_read_argv, plan_read_environment, plan_read_limits;

/* plan_moved.c: what depends on where things are, and when */
plan_reader plan_read_entry_point, plan_read_relocations, plan_read_sealed,
	plan_read_objects, plan_read_object_seals, plan_read_stages,
	plan_read_stage_filters, plan_read_stage_relocations;
int plan_match_moved(const struct section sections[PLAN_KINDS + 1],
		     const struct plan *plan, struct plan_fault *fault);

/* plan_confine.c: what the program may reach, as whom, where, how long */
plan_reader plan_read_landlock, plan_read_paths, plan_read_ports,
	plan_read_identity, plan_read_namespaces, plan_read_timeout,
	plan_read_cgroup;
int plan_match_confined(const struct section sections[PLAN_KINDS + 1],
			const struct plan *plan, struct plan_fault *fault);

/* plan_machine.c: what a machine has to be before the program */
plan_reader plan_read_modules, plan_read_network, plan_read_hostname,
	plan_read_channel;
int plan_match_machine(const struct section sections[PLAN_KINDS + 1],
		       const struct plan *plan, struct plan_fault *fault);

#endif
