/*
 * Breadth first, over all functions at once: code behind a call is followed
 * only when the callee was seen to return.  Numbers of functions and runs are
 * places in their arrays; nothing that points into an array is kept over a
 * question, because the answer may make the array grow.
 */
#include "explore.h"

#include <stdlib.h>
#include <string.h>

#include "explore_lists.h"
#include "x86_decode.h"

static void *grown(struct explore *explore, void *array, size_t *capacity,
		   size_t size)
{
	size_t wanted = *capacity == 0 ? 1024 : *capacity * 2;
	void *larger = realloc(array, wanted * size);

	if (larger == NULL) {
		explore->stopped = 1;
		return array;
	}
	*capacity = wanted;
	return larger;
}

static void append(struct explore *explore, struct explore_list *list,
		   uint64_t number)
{
	if (list->count == list->capacity)
		list->numbers = grown(explore, list->numbers, &list->capacity,
				      sizeof(*list->numbers));
	if (list->count < list->capacity)
		list->numbers[list->count++] = number;
}

void explore_append(struct explore *explore, struct explore_list *list,
		    const uint64_t *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		append(explore, list, numbers[i]);
}

static uint64_t hash(uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15U) >> 20;
}

/* Where KEY is, or would be; the table is never full. */
static uint64_t *slot_of(const struct explore_table *table, uint64_t key)
{
	size_t at = hash(key) & (table->capacity - 1);

	while (table->slots[2 * at] != 0 && table->slots[2 * at] != key + 1)
		at = (at + 1) & (table->capacity - 1);
	return &table->slots[2 * at];
}

uint64_t explore_find(const struct explore_table *table, uint64_t key)
{
	const uint64_t *slot;

	if (table->count == 0)
		return EXPLORE_NONE;
	slot = slot_of(table, key);
	return slot[0] == 0 ? EXPLORE_NONE : slot[1];
}

static void set(struct explore *explore, struct explore_table *table,
		uint64_t key, uint64_t value)
{
	struct explore_table larger = { NULL, table->count, 0 };
	uint64_t *slot;

	if (2 * table->count >= table->capacity) {
		larger.capacity =
			table->capacity == 0 ? 1024 : 2 * table->capacity;
		larger.slots = calloc(2 * larger.capacity, sizeof(uint64_t));
		if (larger.slots == NULL) {
			explore->stopped = 1;
			return;
		}
		for (size_t i = 0; i < table->capacity; i++) {
			if (table->slots[2 * i] == 0)
				continue;
			slot = slot_of(&larger, table->slots[2 * i] - 1);
			memcpy(slot, &table->slots[2 * i], 16);
		}
		free(table->slots);
		*table = larger;
	}
	slot = slot_of(table, key);
	table->count += slot[0] == 0;
	slot[0] = key + 1;
	slot[1] = value;
}

const struct x86_region *explore_region(struct explore *explore,
					uint64_t address)
{
	const struct x86_region *region;
	size_t low = 0;
	size_t high = explore->region_count;

	if (high == 0)
		return NULL;
	region = explore->regions[explore->region];
	if (address - region->start < region->size)
		return region;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (explore->regions[middle]->start <= address)
			low = middle;
		else
			high = middle;
	}
	region = explore->regions[low];
	if (address - region->start >= region->size)
		return NULL;
	explore->region = low;
	return region;
}

void explore_start(struct explore *explore, uint64_t address, int unwound)
{
	const struct x86_region *region = explore_region(explore, address);

	if (region != NULL)
		region->marks[address - region->start] = X86_MARK_START;
	set(explore, &explore->starts, address, 1);
	if (unwound)
		set(explore, &explore->unwound, address, 1);
}

void explore_later(struct explore *explore, uint64_t address, uint64_t function,
		   uint64_t came_from)
{
	append(explore, &explore->queue, address);
	append(explore, &explore->queue, function);
	append(explore, &explore->queue, came_from);
}

void explore_use(struct explore *explore, uint64_t function, uint64_t ip,
		 uint64_t address)
{
	append(explore, &explore->uses, function);
	append(explore, &explore->uses, ip);
	append(explore, &explore->uses, address);
}

static void called(struct explore *explore, uint64_t entry, uint64_t ip)
{
	append(explore, &explore->callers, entry);
	append(explore, &explore->callers, ip);
}

uint64_t explore_enter(struct explore *explore, uint64_t entry)
{
	uint64_t function = explore_find(&explore->functions_at, entry);

	if (function != EXPLORE_NONE)
		return function;
	if (explore->function_count == explore->function_capacity)
		explore->functions = grown(explore, explore->functions,
					   &explore->function_capacity,
					   sizeof(*explore->functions));
	if (explore->function_count == explore->function_capacity)
		return 0;
	function = explore->function_count++;
	memset(&explore->functions[function], 0, sizeof(*explore->functions));
	explore->functions[function].entry = entry;
	explore->functions[function].runs = EXPLORE_NONE;
	set(explore, &explore->functions_at, entry, function);
	explore_later(explore, entry, function, 0);
	if (explore_find(&explore->unwound, entry) != EXPLORE_NONE)
		explore->ask.unwind(explore->who, function);
	return function;
}

/* Append to a list of links; their places count from 1. */
static void link_to(struct explore *explore, uint64_t *first, uint64_t *last,
		    uint64_t number, uint64_t function)
{
	uint64_t place = explore->links.count / 3 + 1;

	append(explore, &explore->links, number);
	append(explore, &explore->links, function);
	append(explore, &explore->links, 0);
	if (explore->stopped)
		return;
	if (*last != 0)
		explore->links.numbers[3 * *last - 1] = place;
	else
		*first = place;
	*last = place;
}

void explore_returns(struct explore *explore, uint64_t function)
{
	struct explore_list *stack = &explore->stack;
	struct explore_function *current;
	const uint64_t *link;

	stack->count = 0;
	append(explore, stack, function);
	while (stack->count > 0 && !explore->stopped) {
		function = stack->numbers[--stack->count];
		current = &explore->functions[function];
		if (current->returns)
			continue;
		current->returns = 1;
		append(explore, &explore->returned, function);
		for (uint64_t at = current->returns_into; at != 0;
		     at = link[2]) {
			link = &explore->links.numbers[3 * (at - 1)];
			append(explore, stack, link[0]);
		}
		for (uint64_t at = current->waiting; at != 0; at = link[2]) {
			link = &explore->links.numbers[3 * (at - 1)];
			explore_later(explore, link[0], link[1], link[0] - 1);
		}
		current->waiting = 0;
	}
}

static void returns_with(struct explore *explore, uint64_t function,
			 uint64_t other)
{
	struct explore_function *functions = explore->functions;

	if (functions[other].returns)
		explore_returns(explore, function);
	else if (!functions[function].returns)
		link_to(explore, &functions[other].returns_into,
			&functions[other].last_returns_into, function, 0);
}

void explore_tail(struct explore *explore, uint64_t target, uint64_t ip,
		  uint64_t function)
{
	explore_use(explore, function, ip, target);
	called(explore, target, ip);
	returns_with(explore, function, explore_enter(explore, target));
}

/* Whether TARGET is the start of a known function other than this one. */
static int is_other(const struct explore *explore, uint64_t target,
		    uint64_t function)
{
	return target != explore->functions[function].entry &&
	       explore_find(&explore->starts, target) != EXPLORE_NONE;
}

void explore_jump(struct explore *explore, uint64_t target, uint64_t ip,
		  uint64_t function)
{
	if (is_other(explore, target, function))
		explore_tail(explore, target, ip, function);
	else
		explore_later(explore, target, function, ip);
}

uint64_t explore_run_at(const struct explore *explore, uint64_t start)
{
	return explore_find(&explore->runs_at, start);
}

uint64_t explore_containing(struct explore *explore, uint64_t address)
{
	const struct x86_region *region = explore_region(explore, address);
	uint64_t around = EXPLORE_NONE;
	uint64_t run;
	size_t at;
	size_t lowest;

	if (region == NULL)
		return EXPLORE_NONE;
	at = (size_t)(address - region->start) + 1;
	lowest = at > X86_MAX_RUN + 16 ? at - X86_MAX_RUN - 16 : 0;
	while (at-- > lowest) {
		if (region->marks[at] != X86_MARK_RUN)
			continue;
		run = explore_run_at(explore, region->start + at);
		if (run == EXPLORE_NONE || address >= explore->runs[run].end)
			continue;
		if (!explore->runs[run].overlapped ||
		    explore->ask.begins(explore->who, run, address))
			return run;
		if (around == EXPLORE_NONE)
			around = run;
	}
	return around;
}

/* Join a path with code that is known already. */
static void meet(struct explore *explore, uint64_t address, uint64_t function,
		 uint64_t came_from)
{
	uint64_t found = explore_containing(explore, address);
	const struct explore_run *run;
	uint64_t owner;
	int is_entry;

	if (found == EXPLORE_NONE)
		return;
	owner = explore->runs[found].function;
	is_entry = explore_find(&explore->functions_at, address) != EXPLORE_NONE;
	if (owner != function) {
		returns_with(explore, function, owner);
		explore_use(explore, function, came_from,
			    explore->functions[owner].entry);
		if (came_from != 0 && !is_entry) {
			append(explore, &explore->inside, address);
			append(explore, &explore->inside, came_from);
		}
	}
	if (came_from != 0 && is_entry)
		called(explore, address, came_from);
	run = &explore->runs[found];
	if (run->ending != X86_JUMP_INDIRECT || came_from == 0)
		return;
	if (run->branch_count > 0 &&
	    explore->branches
			    .numbers[run->branches + 2 * run->branch_count -
				     2] >= address)
		return;
	explore->ask.computed(explore->who, found, address, came_from);
}

/* Keep what the decoder reported; return its number. */
static uint64_t keep(struct explore *explore, uint64_t address,
		     uint64_t function, uint64_t came_from,
		     uint64_t first_call)
{
	const struct x86_run *run = &explore->run;
	struct explore_function *owner;
	struct explore_run *kept;

	if (explore->run_count == explore->run_capacity)
		explore->runs = grown(explore, explore->runs,
				      &explore->run_capacity,
				      sizeof(*explore->runs));
	if (explore->run_count == explore->run_capacity)
		return EXPLORE_NONE;
	kept = &explore->runs[explore->run_count];
	kept->start = address;
	kept->end = run->end;
	kept->last = run->last;
	kept->ending = run->ending;
	kept->target = run->target;
	kept->overlapped = run->overlapped;
	kept->function = function;
	kept->came_from = came_from;
	kept->branches = explore->branches.count;
	kept->branch_count = run->branch_count;
	explore_append(explore, &explore->branches, &run->branches[0].ip,
		   2 * run->branch_count);
	kept->calls = first_call;
	kept->call_count = (explore->calls.count - first_call) / 2;
	kept->indirect_calls = explore->indirect_calls.count;
	kept->indirect_call_count = run->indirect_call_count;
	explore_append(explore, &explore->indirect_calls, run->indirect_calls,
		   run->indirect_call_count);
	kept->references = explore->references.count;
	kept->reference_count = run->reference_count;
	explore_append(explore, &explore->references, &run->references[0].ip,
		   4 * run->reference_count);
	kept->kernel_entries = explore->kernel_entries.count;
	kept->kernel_entry_count = run->kernel_entry_count;
	explore_append(explore, &explore->kernel_entries,
		   &run->kernel_entries[0].ip, 2 * run->kernel_entry_count);
	kept->next = EXPLORE_NONE;
	owner = &explore->functions[function];
	if (owner->runs == EXPLORE_NONE)
		owner->runs = explore->run_count;
	else
		explore->runs[owner->last_run].next = explore->run_count;
	owner->last_run = explore->run_count;
	return explore->run_count++;
}

int explore_is_returning(const struct explore *explore, uint64_t entry)
{
	uint64_t function = explore_find(&explore->functions_at, entry);

	return function != EXPLORE_NONE && explore->functions[function].returns;
}

void explore_call(struct explore *explore, uint64_t ip, uint64_t target)
{
	append(explore, &explore->calls, ip);
	append(explore, &explore->calls, target);
}

/* Decode the run at ADDRESS; return its number. */
static uint64_t follow(struct explore *explore, uint64_t address,
		       uint64_t function, uint64_t came_from)
{
	const struct x86_region *region = explore_region(explore, address);
	struct x86_run *run = &explore->run;
	uint64_t first_call = explore->calls.count;
	uint64_t around;
	uint64_t number;

	if (region == NULL) {
		memset(run, 0, offsetof(struct x86_run, branches));
		run->end = address;
		run->ending = X86_INVALID;
	} else if (explore->decoder.run == NULL) {
		explore->ask.decode(explore->who, address);
	} else {
		explore->decoder.run(region, address, run);
		while (run->ending == X86_CALL &&
		       explore_is_returning(explore, run->target)) {
			explore_call(explore, run->last, run->target);
			explore->decoder.run_on(region, run);
		}
	}
	if (run->overlapped) {
		around = explore_containing(explore, address);
		if (around != EXPLORE_NONE)
			explore->runs[around].overlapped = 1;
	}
	number = keep(explore, address, function, came_from, first_call);
	if (number != EXPLORE_NONE)
		set(explore, &explore->runs_at, address, number);
	return number;
}

/* Apply a call; return where control goes on, EXPLORE_NONE if that is not known
 * yet. */
static uint64_t call(struct explore *explore, uint64_t target, uint64_t ip,
		     uint64_t behind, uint64_t function)
{
	struct explore_function *callee;
	uint64_t number;

	/* a weak symbol that nobody defines: the guarded call would fault */
	if (explore_find(&explore->functions_at, target) == EXPLORE_NONE &&
	    explore_region(explore, target) == NULL &&
	    !explore->ask.executable(explore->who, target))
		return EXPLORE_NONE;
	explore_use(explore, function, ip, target);
	called(explore, target, ip);
	number = explore_enter(explore, target);
	callee = &explore->functions[number];
	if (callee->returns)
		return behind;
	link_to(explore, &callee->waiting, &callee->last_waiting, behind,
		function);
	return EXPLORE_NONE;
}

/* Apply the end of a run; return where control goes on in the same function. */
static uint64_t leave(struct explore *explore, uint64_t number)
{
	const struct explore_run run = explore->runs[number];
	uint64_t target;

	switch (run.ending) {
	case X86_FALL:
		if (is_other(explore, run.end, run.function))
			return run.end;
		if (explore_find(&explore->functions_at, run.end) != EXPLORE_NONE)
			called(explore, run.end, run.end - 1);
		return run.end;
	case X86_JUMP:
		explore_jump(explore, run.target, run.last, run.function);
		return EXPLORE_NONE;
	case X86_CALL:
		return call(explore, run.target, run.last, run.end,
			    run.function);
	case X86_CALL_INDIRECT:
		target = explore->ask.pointer(explore->who, run.target);
		if (target != 0)
			return call(explore, target, run.last, run.end,
				    run.function);
		explore->runs[number].indirect_call_count++;
		append(explore, &explore->indirect_calls, run.last);
		return run.end;
	case X86_RETURN:
		explore_returns(explore, run.function);
		return EXPLORE_NONE;
	case X86_JUMP_INDIRECT:
		explore->ask.computed(explore->who, number, run.start,
				      run.came_from);
		return EXPLORE_NONE;
	default:
		return EXPLORE_NONE;
	}
}

/* Whether something at ADDRESS was decoded before; it is then marked as jumped
 * to. */
static int is_known(struct explore *explore, uint64_t address)
{
	const struct x86_region *region = explore_region(explore, address);
	uint8_t *mark;

	if (region == NULL)
		return 0;
	mark = &region->marks[address - region->start];
	if (*mark == X86_MARK)
		*mark = X86_MARK_LEADER;
	return *mark != 0 && *mark != X86_MARK_START;
}

/* Follow one path inside a function until it meets known code or ends. */
static void follow_path(struct explore *explore, uint64_t address,
			uint64_t function, uint64_t came_from)
{
	while (!explore->stopped) {
		struct explore_run run;
		uint64_t number;
		const uint64_t *pair;

		/* a path falls into another function, or returns into it */
		if (came_from != 0 && is_other(explore, address, function)) {
			explore_tail(explore, address, came_from, function);
			return;
		}
		if (is_known(explore, address)) {
			meet(explore, address, function, came_from);
			return;
		}
		number = follow(explore, address, function, came_from);
		if (explore->stopped)
			return;
		run = explore->runs[number];
		if (run.reference_count > 0)
			explore->ask.references(explore->who, number);
		for (uint64_t i = 0; i < run.branch_count; i++) {
			pair = &explore->branches.numbers[run.branches + 2 * i];
			explore_jump(explore, pair[1], pair[0], function);
		}
		for (uint64_t i = 0; i < run.call_count; i++) {
			pair = &explore->calls.numbers[run.calls + 2 * i];
			explore_use(explore, function, pair[0], pair[1]);
			called(explore, pair[1], pair[0]);
		}
		address = leave(explore, number);
		if (address == EXPLORE_NONE)
			return;
		came_from = run.end - 1;
	}
}

void explore_all(struct explore *explore)
{
	struct explore_list *queue = &explore->queue;

	while (explore->queue_head < queue->count && !explore->stopped) {
		const uint64_t *item = &queue->numbers[explore->queue_head];

		explore->queue_head += 3;
		follow_path(explore, item[0], item[1], item[2]);
		/* what was followed makes room once it is the larger part */
		if (explore->queue_head > 65536 &&
		    2 * explore->queue_head > queue->count) {
			queue->count -= explore->queue_head;
			memmove(queue->numbers,
				queue->numbers + explore->queue_head,
				queue->count * sizeof(*queue->numbers));
			explore->queue_head = 0;
		}
	}
}

void explore_release(struct explore *explore)
{
	struct explore_list *lists[] = {
		&explore->branches,	  &explore->calls,
		&explore->indirect_calls, &explore->references,
		&explore->kernel_entries, &explore->callers,
		&explore->inside,	  &explore->uses,
		&explore->returned,	  &explore->queue,
		&explore->links,	  &explore->stack,
		&explore->blocks,	  &explore->edges,
	};
	struct explore_table *tables[] = {
		&explore->starts,
		&explore->unwound,
		&explore->functions_at,
		&explore->runs_at,
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		free(lists[i]->numbers);
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		free(tables[i]->slots);
	free(explore->runs);
	free(explore->functions);
}
