/*
 * Where has the kernel put the program and the vDSO?  The plan says which
 * constants of the filter wait for that: pins are addresses.
 */
#include <string.h>

#include "load.h"
#include "steps.h"

#define PAGE 4096

_Static_assert(sizeof(((struct launch_memory *)0)->filter) >=
	       PLAN_MAX_FILTER * PLAN_INSTRUCTION_SIZE, "relocate_filter");

struct place {
	uint64_t address;
	uint64_t size;		/* 0 where nothing asks for it */
};

/* How far is the program from the addresses in its file? */
static int find_program(struct launch_state *launch, struct place *place)
{
	place->address = launch->held.entry - launch->plan->entry_point;
	place->size = 0;
	if (launch->held.entry == 0 || place->address % PAGE != 0)
		return refuse(launch, "the program's entry point is not the "
			      "plan's");
	return 0;
}

/* One word of each page: the kernel reads up to the first that is not there. */
static int find_vdso(struct launch_state *launch, struct place *place)
{
	enum { MOST_PAGES = 8 };
	uint64_t words[MOST_PAGES];
	struct iovec local = { words, sizeof(words) };
	struct iovec remote[MOST_PAGES];
	long got;

	place->address = launch->held.vdso;
	for (size_t page = 0; page < MOST_PAGES; page++)
		remote[page] = (struct iovec){
			(void *)(uintptr_t)(place->address + page * PAGE),
			sizeof(words[0])
		};
	got = sys_vm_readv(launch->pid, &local, 1, remote, MOST_PAGES);
	if (got < 0)
		return (int)got;
	place->size = (uint64_t)got / sizeof(words[0]) * PAGE;
	return 0;
}

/* Pre: the entry was read by plan_read, so that all of it is in range. */
static void relocate(uint8_t *filter, const uint8_t *entry,
		     const struct place places[PLAN_MOVED_KINDS])
{
	uint8_t *constant = filter +
			    load32_le(entry) * PLAN_INSTRUCTION_SIZE + 4;
	const struct place *place = &places[load16_le(entry + 4)];
	uint64_t added = 0;

	switch ((enum plan_part)load16_le(entry + 6)) {
	case PLAN_PART_LOW:
		added = place->address;
		break;
	case PLAN_PART_HIGH:
		added = place->address >> 32;
		break;
	case PLAN_PART_SIZE:
		added = place->size;
		break;
	case PLAN_PART_KINDS:
		break;
	}
	store32_le(constant, load32_le(constant) + (uint32_t)added);
}

/*
 * What was proved of the filter before may not hold any more: any constant may
 * be another after this.
 */
int relocate_filter(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;
	uint8_t *filter = launch->memory->filter;
	struct place places[PLAN_MOVED_KINDS];
	int error;

	if (plan->relocation_count == 0)
		return 0;
	error = find_program(launch, &places[PLAN_MOVED_PROGRAM]);
	if (error == 0)
		error = find_vdso(launch, &places[PLAN_MOVED_VDSO]);
	if (error != 0)
		return error;
	memcpy(filter, plan->filter,
	       plan->filter_count * PLAN_INSTRUCTION_SIZE);
	for (size_t i = 0; i < plan->relocation_count; i++)
		relocate(filter, plan->relocations + i * PLAN_RELOCATION_SIZE,
			 places);
	launch->filter = filter;
	return prove_filter(launch);
}
