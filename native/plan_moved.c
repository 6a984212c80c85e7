/*
 * The sections of a plan that depend on where the kernel and the loader put
 * things: addresses in files, and what is added to a filter's constants.
 */
#include "load.h"
#include "plan_sections.h"

int plan_read_entry_point(const struct section *section, struct plan *plan,
			    struct plan_fault *fault)
{
	if (section->size != PLAN_ENTRY_POINT_SIZE)
		return found_size(fault_at(fault, "entry-point", "8 bytes",
					   section->offset), section->size);
	plan->entry_point = load64_le(section->at);
	return 0;
}

int plan_read_relocations(const struct section *section, struct plan *plan,
			  struct plan_fault *fault)
{
	if (section->size % PLAN_RELOCATION_SIZE != 0)
		return found_size(fault_at(fault, "relocations",
					   "entries of 8 bytes",
					   section->offset), section->size);
	plan->relocations = section->at;
	plan->relocation_count = section->size / PLAN_RELOCATION_SIZE;
	return 0;
}

int plan_read_stage_relocations(const struct section *section,
				struct plan *plan, struct plan_fault *fault)
{
	if (section->size % PLAN_RELOCATION_SIZE != 0)
		return found_size(fault_at(fault, "stage-relocations",
					   "entries of 8 bytes",
					   section->offset), section->size);
	plan->stage_relocations = section->at;
	plan->stage_relocation_count = section->size / PLAN_RELOCATION_SIZE;
	return 0;
}

/* The extent of whole pages at ENTRY, behind LEAST, with a gap between two, or
 * they would be one.  Post: its end is in LEAST. */
static int read_pages(const uint8_t *entry, size_t at, int first,
		      uint64_t *least, struct plan_fault *fault)
{
	uint64_t address = load64_le(entry);
	uint64_t size = load64_le(entry + 8);

	if (address % PLAN_PAGE != 0 || (!first && address <= *least))
		return found_two(fault_at(fault, "sealed.address",
					  "pages, increasing, with gaps", at),
				 address, " after ", *least, "");
	if (size % PLAN_PAGE != 0 || size == 0 || size > UINT64_MAX - address)
		return found_number(fault_at(fault, "sealed.size",
					     "whole pages", at + 8), size);
	*least = address + size;
	return 0;
}

int plan_read_sealed(const struct section *section, struct plan *plan,
		     struct plan_fault *fault)
{
	uint64_t least = 0;

	if (section->size % PLAN_SEALED_SIZE != 0)
		return found_size(fault_at(fault, "sealed",
					   "entries of 16 bytes",
					   section->offset), section->size);
	plan->sealed = section->at;
	plan->sealed_count = section->size / PLAN_SEALED_SIZE;
	for (size_t i = 0; i < plan->sealed_count; i++)
		if (read_pages(section->at + i * PLAN_SEALED_SIZE,
			       section->offset + i * PLAN_SEALED_SIZE, i == 0,
			       &least, fault) != 0)
			return -1;
	return 0;
}

int plan_read_objects(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	if (section->size % PLAN_OBJECT_SIZE != 0 ||
	    section->size / PLAN_OBJECT_SIZE > PLAN_MAX_OBJECTS)
		return found_size(fault_at(fault, "objects",
					   "1 to 512 entries of 40 bytes",
					   section->offset), section->size);
	plan->objects = section->at;
	plan->object_count = section->size / PLAN_OBJECT_SIZE;
	for (size_t i = 0; i < plan->object_count; i++) {
		const uint8_t *address = section->at + i * PLAN_OBJECT_SIZE +
					 PLAN_DIGEST_SIZE;

		if (load64_le(address) % PLAN_PAGE != 0)
			return found_number(fault_at(fault, "objects.address",
						     "a page", section->offset +
						     i * PLAN_OBJECT_SIZE +
						     PLAN_DIGEST_SIZE),
					    load64_le(address));
	}
	return 0;
}

int plan_read_object_seals(const struct section *section, struct plan *plan,
			   struct plan_fault *fault)
{
	uint64_t least = 0;
	uint32_t previous = 0;

	if (section->size % PLAN_OBJECT_SEAL_SIZE != 0)
		return found_size(fault_at(fault, "object-seals",
					   "entries of 24 bytes",
					   section->offset), section->size);
	plan->object_seals = section->at;
	plan->object_seal_count = section->size / PLAN_OBJECT_SEAL_SIZE;
	for (size_t i = 0; i < plan->object_seal_count; i++) {
		const uint8_t *entry = section->at + i * PLAN_OBJECT_SEAL_SIZE;
		size_t at = section->offset + i * PLAN_OBJECT_SEAL_SIZE;
		uint32_t object = load32_le(entry);

		if (object < previous || object >= plan->object_count ||
		    load32_le(entry + 4) != 0)
			return found_two(fault_at(fault, "object-seals.object",
						  "objects of the plan, in their "
						  "order, and 0", at),
					 object, " and ", load32_le(entry + 4),
					 "");
		if (read_pages(entry + 8, at + 8, i == 0 || object != previous,
			       &least, fault) != 0)
			return -1;
		previous = object;
	}
	return 0;
}

int plan_read_stages(const struct section *section, struct plan *plan,
		     struct plan_fault *fault)
{
	/* Whoever runs another program has left its boundaries, but for that
	 * of the loader; and whom the kernel kills nobody has to trace. */
	int lasting = !(plan->flags & PLAN_AUDIT) &&
		      (section->size != PLAN_STAGE_SIZE ||
		       load64_le(section->at) != plan->entry_point);
	uint32_t excluded = plan->flags & (lasting ?
			PLAN_EXEC_ALLOWED | PLAN_NO_EVENTS : PLAN_NO_EVENTS);

	if (section->size % PLAN_STAGE_SIZE != 0 ||
	    section->size / PLAN_STAGE_SIZE > PLAN_MAX_STAGES)
		return found_size(fault_at(fault, "stages",
					   "1 to 4 entries of 16 bytes",
					   section->offset), section->size);
	if (excluded != 0)
		return found_flags(fault_at(fault, "stages",
					    "events, and with exec allowed one stage "
					    "at the entry point",
					    section->offset), excluded);
	plan->stages = section->at;
	plan->stage_count = section->size / PLAN_STAGE_SIZE;
	return 0;
}

int plan_read_stage_filters(const struct section *section, struct plan *plan,
			    struct plan_fault *fault)
{
	if (section->size % PLAN_INSTRUCTION_SIZE != 0)
		return found_size(fault_at(fault, "stage-filters",
					   "instructions of 8 bytes",
					   section->offset), section->size);
	plan->stage_filters = section->at;
	plan->stage_filter_count = section->size / PLAN_INSTRUCTION_SIZE;
	return 0;
}

/* COUNT relocations at ENTRIES concern instructions that are there, and what is
 * moved by then. */
static int match_relocations(const uint8_t *entries, size_t count, size_t at,
			     size_t instructions, size_t moved,
			     struct plan_fault *fault)
{
	uint32_t least = 0;

	for (size_t i = 0; i < count; i++, at += PLAN_RELOCATION_SIZE) {
		const uint8_t *entry = entries + i * PLAN_RELOCATION_SIZE;
		uint32_t index = load32_le(entry);

		if (index < least)
			return found_two(fault_at(fault, "relocations.index",
						  "instructions, increasing",
						  at),
					 index, " after ", least - 1, "");
		if (index >= instructions)
			return found_two(fault_at(fault, "relocations.index",
						  "instructions of the filter",
						  at),
					 index, " in a filter of ", instructions,
					 "");
		if (load16_le(entry + 4) >= moved ||
		    load16_le(entry + 6) >= PLAN_PART_KINDS)
			return found_two(fault_at(fault, "relocations.part",
						  "low (0), high (1) or size (2) "
						  "of program (0), vdso (1) or an "
						  "object that is there",
						  at),
					 load16_le(entry + 6), " of ",
					 load16_le(entry + 4), "");
		least = index + 1;
	}
	return 0;
}

/* The stages have filters and relocations between them, all of them. */
static int match_stages(const struct section sections[PLAN_KINDS + 1],
			const struct plan *plan, struct plan_fault *fault)
{
	size_t filters = 0;
	size_t relocations = 0;
	size_t at = sections[PLAN_STAGES].offset;

	for (size_t i = 0; i < plan->stage_count; i++, at += PLAN_STAGE_SIZE) {
		const uint8_t *stage = plan->stages + i * PLAN_STAGE_SIZE;
		size_t instructions = load32_le(stage + 8);
		size_t count = load32_le(stage + 12);

		if (instructions == 0 || instructions > PLAN_MAX_FILTER ||
		    instructions > plan->stage_filter_count - filters)
			return found_two(fault_at(fault, "stages.instructions",
						  "1 to 4096 that are there",
						  at + 8), instructions,
					 " of ", plan->stage_filter_count -
					 filters, "");
		if (count > plan->stage_relocation_count - relocations)
			return found_two(fault_at(fault, "stages.relocations",
						  "as many as are there",
						  at + 12), count, " of ",
					 plan->stage_relocation_count -
					 relocations, "");
		if (match_relocations(plan->stage_relocations +
				      relocations * PLAN_RELOCATION_SIZE, count,
				      sections[PLAN_STAGE_RELOCATIONS].offset +
				      relocations * PLAN_RELOCATION_SIZE,
				      instructions, PLAN_MOVED_OBJECT +
				      plan->object_count, fault) != 0)
			return -1;
		filters += instructions;
		relocations += count;
	}
	if (filters != plan->stage_filter_count)
		return found_two(fault_at(fault, "stage-filters",
					  "those of the stages",
					  sections[PLAN_STAGE_FILTERS].offset),
				 plan->stage_filter_count, " where stages have ",
				 filters, "");
	if (relocations != plan->stage_relocation_count)
		return found_two(fault_at(fault, "stage-relocations",
					  "those of the stages",
					  sections[PLAN_STAGE_RELOCATIONS].offset),
				 plan->stage_relocation_count,
				 " where stages have ", relocations, "");
	return 0;
}

/* Relocations, seals and stages need the entry point, and nothing else does.
 * Objects are looked for where the loader has done its work. */
int plan_match_moved(const struct section sections[PLAN_KINDS + 1],
		     const struct plan *plan, struct plan_fault *fault)
{
	int moved = plan->relocation_count != 0 || plan->sealed_count != 0 ||
		    plan->stage_count != 0;

	if (moved != (sections[PLAN_ENTRY_POINT].at != NULL))
		return found_text(fault_at(fault, "entry-point",
					   "one with relocations, seals or "
					   "stages, none without",
					   PLAN_HEADER_SIZE),
				  moved ? "none" : "one");
	if (plan->object_count != 0 && (plan->stage_count == 0 ||
	    load64_le(plan->stages) != plan->entry_point))
		return found_text(fault_at(fault, "objects",
					   "a stage that begins at the entry "
					   "point",
					   sections[PLAN_OBJECTS].offset),
				  "none");
	if (match_relocations(plan->relocations, plan->relocation_count,
			      sections[PLAN_RELOCATIONS].offset,
			      plan->filter_count, PLAN_MOVED_OBJECT, fault) != 0)
		return -1;
	return match_stages(sections, plan, fault);
}
