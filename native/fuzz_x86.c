/*
 * The decoder under sanitizers: each input is code, decoded from its first byte
 * to its last in memory of just that size.  As fuzz.c, of which this is the
 * other half, it reads one input, or makes its own for some seconds.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "x86_decode.h"
#include "x86_run.h"

#define START 0x400000U
#define MAX_SIZE 65536U

static struct x86_run run;

/* An instruction needs all its bytes, and no other. */
static void check_length(const uint8_t *bytes, size_t size)
{
	struct x86_instruction first;
	struct x86_instruction again;

	x86_decode(bytes, size, &first);
	if (first.shape->control == X86_INVALID)
		return;
	fuzz_require(first.length > 0 && first.length <= X86_MAX_LENGTH);
	fuzz_require(first.length <= size);
	for (size_t length = 0; length <= first.length; length++) {
		uint8_t *exact = malloc(length + 1); /* for ASan's red zones */

		fuzz_require(exact != NULL);
		memcpy(exact + 1, bytes, length);
		x86_decode(exact + 1, length, &again);
		fuzz_require((again.shape == first.shape) ==
			(length == first.length));
		free(exact);
	}
}

/* Everything reported is in order, and in the run. */
static void check_run(uint64_t start, size_t size)
{
	uint64_t before = 0;

	fuzz_require(run.end >= start && run.end <= START + size);
	fuzz_require(run.end - start < X86_MAX_RUN + X86_MAX_LENGTH);
	fuzz_require(run.ending >= X86_FALL && run.ending <= X86_INVALID);
	fuzz_require(run.branch_count < X86_MAX_REPORTS);
	fuzz_require(run.indirect_call_count < X86_MAX_REPORTS);
	fuzz_require(run.reference_count < X86_MAX_REPORTS);
	fuzz_require(run.kernel_entry_count < X86_MAX_REPORTS);
	for (uint64_t i = 0; i < run.reference_count; i++) {
		fuzz_require(run.references[i].ip >= before);
		fuzz_require(run.references[i].ip < run.end);
		before = run.references[i].ip;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct x86_region region = { bytes, NULL, size, START, 0, 0, 1, 0xcc };

	region.marks = calloc(size + 1, 1);
	fuzz_require(region.marks != NULL);
	region.highest = ~(uint64_t)0;
	for (size_t at = 0; at < size; at++) {
		check_length(bytes + at, size - at);
		if (region.marks[at] != 0)
			continue;
		x86_run(&region, START + at, &run);
		check_run(START + at, size);
		while (run.ending == X86_CALL) {
			x86_run_on(&region, &run);
			check_run(START + at, size);
		}
	}
	free(region.marks);
	return 0;
}

/* Bytes of which many begin an instruction that has several parts. */
static uint8_t next_byte(unsigned long input)
{
	static const uint8_t openings[] = {
		0x0f, 0x38, 0x3a, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x41,
		0x62, 0xc4, 0xc5, 0x8f, 0xe8, 0xff, 0x05, 0x04, 0x25, 0xcc,
	};
	uint32_t random;

	if (input % 128 == 0)
		return 0x90;
	random = fuzz_random();
	return random & 256 ? (uint8_t)random :
			      openings[random % sizeof(openings)];
}

static int generate(long seconds)
{
	return fuzz_generate(seconds, 48, next_byte);
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--generate", generate, MAX_SIZE, 1);
}
#endif
