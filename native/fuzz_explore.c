/*
 * The exploration under sanitizers: each input is two regions of code, followed
 * from the first byte of each and from wherever the code itself points; the
 * answers that Python gives are made from the input. As fuzz.c, it reads one
 * input, or makes its own for some seconds.
 */
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "fuzz_input.h"
#include "words.h"
#include "x86_decode.h"
#include "x86_run.h"

#define LOW 0x400000U
#define HIGH 0x500000U
#define MAX_SIZE 65536U
#define ROOM 16U

/* What the questions are answered from. */
struct asked {
	struct explore *explore;
	struct x86_region regions[2];
};

static const struct x86_region *region_of(const struct asked *asked,
					  uint64_t address)
{
	for (size_t i = 0; i < 2; i++)
		if (address >= asked->regions[i].start &&
		    address - asked->regions[i].start < asked->regions[i].size)
			return &asked->regions[i];
	return NULL;
}

/* Every reference to code is the address of a function, or of data. */
static void references(void *who, uint64_t run)
{
	struct asked *asked = who;
	struct explore *explore = asked->explore;
	struct explore_run found = explore->runs[run];

	for (uint64_t i = 0; i < found.reference_count; i++) {
		size_t at = found.references + 4 * i;
		uint64_t ip = explore->references.numbers[at];
		uint64_t address = explore->references.numbers[at + 1];

		explore_use(explore, found.function, ip, address);
		if (region_of(asked, address) != NULL)
			explore_enter(explore, address);
	}
}

static void unwind(void *who, uint64_t function)
{
	struct asked *asked = who;
	uint64_t entry = asked->explore->functions[function].entry;

	if (region_of(asked, entry + 5) != NULL)
		explore_later(asked->explore, entry + 5, function, entry);
}

static uint64_t pointer(void *who, uint64_t slot)
{
	const struct x86_region *region = region_of(who, slot);

	return region == NULL ? 0 : region->start + slot % region->size;
}

static int executable(void *who, uint64_t address)
{
	return region_of(who, address) != NULL;
}

/* A jump table with one target of each kind. */
static void computed(void *who, uint64_t run, uint64_t start,
		     uint64_t came_from)
{
	struct asked *asked = who;
	struct explore_run found = asked->explore->runs[run];
	uint64_t inside = found.end + (start & 7);

	(void)came_from;
	if (region_of(asked, inside) != NULL)
		explore_jump(asked->explore, inside, found.last,
			     found.function);
	if (region_of(asked, found.start + 1) != NULL && (start & 1))
		explore_tail(asked->explore, found.start + 1, found.last,
			     found.function);
	if (start & 2)
		explore_returns(asked->explore, found.function);
}

static void decode(void *who, uint64_t address)
{
	(void)who;
	(void)address;
	abort(); /* there is a decoder */
}

static int begins(void *who, uint64_t run, uint64_t address)
{
	struct asked *asked = who;
	const struct explore_run *found = &asked->explore->runs[run];
	const struct x86_region *region = region_of(asked, found->start);
	struct x86_instruction instruction;
	uint64_t ip = found->start;

	fuzz_require(region != NULL);
	while (ip < address && ip < found->end) {
		size_t at = ip - region->start;

		x86_decode(region->bytes + at, region->size - at, &instruction);
		if (instruction.length == 0)
			return 0;
		ip += instruction.length;
	}
	return ip == address;
}

/* Blocks follow one another from the beginning of their run to its end, and
 * edges begin at blocks. */
static void check_function(struct explore *explore, uint64_t function)
{
	uint64_t cut_from = EXPLORE_NONE;
	uint64_t end = 0;
	size_t count;

	explore_connect(explore, function);
	count = explore->blocks.count / EXPLORE_BLOCK_SIZE;
	for (size_t i = 0; i < count; i++) {
		const uint64_t *block =
			explore->blocks.numbers + i * EXPLORE_BLOCK_SIZE;
		uint64_t run = explore_run_at(explore, block[5]);

		fuzz_require(run != EXPLORE_NONE);
		fuzz_require(block[0] < block[1]);
		fuzz_require(block[0] ==
			     (block[5] == cut_from ? end : block[5]));
		fuzz_require(block[1] <= explore->runs[run].end);
		cut_from = block[5];
		end = block[1];
		fuzz_require(block[2] == 0 ||
			(block[2] >= block[0] && block[2] < block[1]));
	}
	for (size_t i = 0; i < explore->edges.count; i += 4)
		fuzz_require(explore->edges.numbers[i] < count &&
			explore->edges.numbers[i + 2] <= EXPLORE_ELSEWHERE);
}

static void check(struct asked *asked)
{
	struct explore *explore = asked->explore;

	fuzz_require(!explore->stopped);
	for (size_t i = 0; i < explore->run_count; i++) {
		const struct explore_run *run = &explore->runs[i];
		const struct x86_region *region = region_of(asked, run->start);

		fuzz_require(run->function < explore->function_count);
		if (region == NULL) /* where there is no code */
			fuzz_require(run->end == run->start &&
				run->ending == X86_INVALID);
		else
			fuzz_require(run->end >= run->start &&
				run->end <= region->start + region->size);
		fuzz_require(run->branches + 2 * run->branch_count <=
			explore->branches.count);
		fuzz_require(run->calls + 2 * run->call_count <=
			explore->calls.count);
		fuzz_require(run->references + 4 * run->reference_count <=
			explore->references.count);
	}
	for (size_t i = 0; i < explore->function_count; i++)
		check_function(explore, i);
}

/* As many words are reported as a plain loop finds. */
static void check_words(const uint8_t *bytes, size_t size)
{
	uint64_t offsets[ROOM];
	uint64_t values[ROOM];
	size_t first = size % 8;
	size_t expected = 0;
	size_t found = words_find(bytes, size, first, LOW, HIGH, offsets,
				  values, ROOM);

	for (size_t at = first; at + 8 <= size; at += 8) {
		uint64_t word;

		memcpy(&word, bytes + at, 8);
		if (word < LOW || word > HIGH)
			continue;
		if (expected < ROOM)
			fuzz_require(offsets[expected] == at &&
				values[expected] == word);
		expected++;
	}
	fuzz_require(found == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t half = size / 2;
	struct asked asked = {
		NULL,
		{ { bytes, NULL, half, LOW, LOW, HIGH + MAX_SIZE, 1, 0xcc },
		  { bytes + half, NULL, size - half, HIGH, LOW,
		    HIGH + MAX_SIZE, 1, 0 } },
	};
	const struct x86_region *regions[] = { &asked.regions[0],
					       &asked.regions[1] };
	struct explore explore = {
		.regions = regions,
		.region_count = 2,
		.decoder = { x86_run, x86_run_on },
		.ask = { references, unwind, pointer, executable, computed,
			 decode, begins },
		.who = &asked,
	};

	asked.explore = &explore;
	for (size_t i = 0; i < 2; i++) {
		asked.regions[i].marks = calloc(asked.regions[i].size + 1, 1);
		fuzz_require(asked.regions[i].marks != NULL);
		if (asked.regions[i].size == 0)
			continue;
		explore_start(&explore, asked.regions[i].start,
			      (int)(size & 1));
		explore_enter(&explore, asked.regions[i].start);
	}
	explore_all(&explore);
	check(&asked);
	check_words(bytes, size);
	explore_release(&explore);
	free(asked.regions[0].marks);
	free(asked.regions[1].marks);
	return 0;
}

/* Bytes of which many are jumps, calls and returns, with short distances. */
static uint8_t next_byte(unsigned long input)
{
	static const uint8_t flows[] = {
		0xeb, 0xe8, 0xe9, 0x74, 0x0f, 0x84, 0xc3, 0xff, 0x25, 0xe0,
		0xd0, 0x48, 0x8d, 0x05, 0x00, 0x00, 0x00, 0x10, 0xff, 0x90,
	};
	uint32_t random = fuzz_random();

	(void)input;
	return random & 256 ? (uint8_t)random : flows[random % sizeof(flows)];
}

static int generate(long seconds)
{
	return fuzz_generate(seconds, 256, next_byte);
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--generate", generate, MAX_SIZE, 1);
}
#endif
