/*
 * The basic blocks of a function, and how control goes from one to another:
 * made once for each function that questions are asked about.
 */
#include "explore.h"

#include "explore_lists.h"
#include "x86_decode.h"

enum { FIXED_SIZE = 4 }; /* of instructions that the caller decodes */

/* Where a run's reports go on; each list is sorted by address. */
struct reports {
	const uint64_t *branches;
	const uint64_t *calls;
	const uint64_t *indirect_calls;
	uint64_t branch_count;
	uint64_t call_count;
	uint64_t indirect_call_count;
};

static uint64_t behind(const struct explore *explore,
		       const struct x86_region *region, uint64_t ip,
		       uint64_t end)
{
	struct x86_instruction instruction;
	size_t at = (size_t)(ip - region->start);

	if (explore->decoder.run == NULL)
		return ip + FIXED_SIZE;
	x86_decode(region->bytes + at, region->size - at, &instruction);
	if (instruction.shape->control == X86_INVALID || !instruction.length)
		return end;
	return ip + instruction.length;
}

/* Fill BLOCK with the report on the instruction at IP; return whether there is
 * one. */
static int reported(struct reports *reports, uint64_t ip,
		    struct explore_block *block)
{
	if (reports->branch_count > 0 && reports->branches[0] == ip) {
		block->ending = X86_BRANCH;
		block->target = reports->branches[1];
		reports->branches += 2;
		reports->branch_count--;
	} else if (reports->call_count > 0 && reports->calls[0] == ip) {
		block->ending = X86_CALL;
		block->target = reports->calls[1];
		reports->calls += 2;
		reports->call_count--;
	} else if (reports->indirect_call_count > 0 &&
		   reports->indirect_calls[0] == ip) {
		block->ending = X86_CALL_INDIRECT;
		reports->indirect_calls++;
		reports->indirect_call_count--;
	} else {
		return 0;
	}
	block->last = ip;
	return 1;
}

static void cut_run(struct explore *explore, const struct explore_run *run)
{
	const struct x86_region *region = explore_region(explore, run->start);
	struct reports reports = {
		explore->branches.numbers + run->branches,
		explore->calls.numbers + run->calls,
		explore->indirect_calls.numbers + run->indirect_calls,
		run->branch_count,
		run->call_count,
		run->indirect_call_count,
	};
	struct explore_block block = { run->start, 0, 0, X86_FALL, 0,
				       run->start };

	if (region == NULL)
		return;
	for (uint64_t ip = run->start; ip < run->end; ip = block.end) {
		int ended;

		block.end = behind(explore, region, ip, run->end);
		ended = reported(&reports, ip, &block);
		if (block.end >= run->end) {
			block.end = run->end;
			if (run->last != 0 || !ended) {
				block.last = run->last;
				block.ending = run->ending;
				block.target = run->target;
			}
		} else if (!ended && region->marks[block.end - region->start] !=
					     X86_MARK_LEADER) {
			continue;
		}
		explore_append(explore, &explore->blocks, &block.start,
			   EXPLORE_BLOCK_SIZE);
		block = (struct explore_block){ block.end, block.end, 0,
						X86_FALL, 0, run->start };
	}
}

static void connect(struct explore *explore, uint64_t function, uint64_t block,
		    uint64_t target)
{
	uint64_t kind = EXPLORE_INSIDE;
	uint64_t owner = EXPLORE_NONE;
	uint64_t run;

	if (explore_find(&explore->functions_at, target) != EXPLORE_NONE) {
		kind = EXPLORE_ENTRY;
	} else {
		run = explore_containing(explore, target);
		if (run == EXPLORE_NONE)
			return;
		owner = explore->runs[run].function;
		if (owner != function)
			kind = EXPLORE_ELSEWHERE;
		owner = explore->functions[owner].entry;
	}
	explore_append(explore, &explore->edges,
		       (const uint64_t[]){ block, target, kind, owner }, 4);
}

void explore_cut(struct explore *explore, uint64_t function)
{
	explore->blocks.count = 0;
	for (uint64_t run = explore->functions[function].runs;
	     run != EXPLORE_NONE; run = explore->runs[run].next)
		cut_run(explore, &explore->runs[run]);
}

void explore_connect(struct explore *explore, uint64_t function)
{
	const uint64_t *block;

	explore_cut(explore, function);
	explore->edges.count = 0;
	for (size_t at = 0; at < explore->blocks.count / EXPLORE_BLOCK_SIZE;
	     at++) {
		block = explore->blocks.numbers + at * EXPLORE_BLOCK_SIZE;
		if (block[3] == X86_FALL || block[3] == X86_BRANCH)
			connect(explore, function, at, block[1]);
		if (block[3] == X86_JUMP || block[3] == X86_BRANCH)
			connect(explore, function, at, block[4]);
	}
}
