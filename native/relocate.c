/*
 * Where has the kernel put the program and the vDSO?  The plan says which
 * constants of the filter wait for that: pins are addresses.
 */
#include <string.h>

#include "load.h"
#include "steps.h"

_Static_assert(sizeof(((struct launch_memory *)0)->filter) >=
	       PLAN_MAX_FILTER * PLAN_INSTRUCTION_SIZE, "relocate_filter");

/* How far is the program from the addresses in its file? */
static int find_program(struct launch_state *launch)
{
	struct held *held = &launch->held;

	held->moved = held->entry - launch->plan->entry_point;
	if (held->entry == 0 || held->moved % PLAN_PAGE != 0)
		return refuse(launch, "the program's entry point is not the "
			      "plan's");
	return 0;
}

/* One word of each page: the kernel reads up to the first that is not there. */
static int find_vdso(struct launch_state *launch)
{
	enum { MOST_PAGES = 8 };
	uint64_t words[MOST_PAGES];
	struct iovec local = { words, sizeof(words) };
	struct iovec remote[MOST_PAGES];
	long got;

	for (size_t page = 0; page < MOST_PAGES; page++)
		remote[page] = (struct iovec){
			(void *)(uintptr_t)(launch->held.vdso +
					    page * PLAN_PAGE),
			sizeof(words[0])
		};
	got = sys_vm_readv(launch->pid, &local, 1, remote, MOST_PAGES);
	if (got < 0)
		return (int)got;
	launch->held.vdso_size = (uint64_t)got / sizeof(words[0]) * PLAN_PAGE;
	return 0;
}

int find_moved(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;
	int error;

	if (plan->relocation_count == 0 && plan->sealed_count == 0 &&
	    plan->stage_count == 0)
		return 0;
	error = find_program(launch);
	return error != 0 ? error : find_vdso(launch);
}

/* Those of the plan for STAGE, as they are in it. */
void choose_filter(struct launch_state *launch, size_t stage)
{
	const struct plan *plan = launch->plan;
	const uint8_t *entry = plan->stages;

	launch->filter = plan->filter;
	launch->filter_count = plan->filter_count;
	launch->relocations = plan->relocations;
	launch->relocation_count = plan->relocation_count;
	if (stage == 0)
		return;
	launch->filter = plan->stage_filters;
	launch->relocations = plan->stage_relocations;
	for (; stage > 1; stage--, entry += PLAN_STAGE_SIZE) {
		launch->filter += load32_le(entry + 8) * PLAN_INSTRUCTION_SIZE;
		launch->relocations += load32_le(entry + 12) *
				       PLAN_RELOCATION_SIZE;
	}
	launch->filter_count = load32_le(entry + 8);
	launch->relocation_count = load32_le(entry + 12);
}

/* Pre: the entry was read by plan_read, so that all of it is in range. */
static void relocate(const struct launch_state *launch, uint8_t *filter,
		     const uint8_t *entry)
{
	const struct held *held = &launch->held;
	uint8_t *constant = filter +
			    load32_le(entry) * PLAN_INSTRUCTION_SIZE + 4;
	uint16_t moved = load16_le(entry + 4);
	uint64_t address = moved == PLAN_MOVED_PROGRAM ? held->moved :
			   moved == PLAN_MOVED_VDSO ? held->vdso :
			   launch->memory->objects[moved - PLAN_MOVED_OBJECT];
	uint64_t added = 0;

	switch ((enum plan_part)load16_le(entry + 6)) {
	case PLAN_PART_LOW:
		added = address;
		break;
	case PLAN_PART_HIGH:
		added = address >> 32;
		break;
	case PLAN_PART_SIZE:
		added = moved == PLAN_MOVED_VDSO ? held->vdso_size : 0;
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
	uint8_t *filter = launch->memory->filter;

	if (launch->relocation_count == 0)
		return 0;
	memcpy(filter, launch->filter,
	       launch->filter_count * PLAN_INSTRUCTION_SIZE);
	for (size_t i = 0; i < launch->relocation_count; i++)
		relocate(launch, filter,
			 launch->relocations + i * PLAN_RELOCATION_SIZE);
	launch->filter = filter;
	return prove_chosen(launch, launch->stage);
}
