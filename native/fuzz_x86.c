/*
 * The decoder under sanitizers: each input is code, decoded from its first byte
 * to its last in memory of just that size.  As fuzz.c, of which this is the
 * other half, it reads one input, or makes its own for some seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "x86_decode.h"
#include "x86_run.h"

#define START 0x400000U
#define MAX_SIZE 65536U

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct x86_run run;

static void require(int holds)
{
	if (!holds)
		abort();
}

/* An instruction needs all its bytes, and no other. */
static void check_length(const uint8_t *bytes, size_t size)
{
	struct x86_instruction first;
	struct x86_instruction again;

	x86_decode(bytes, size, &first);
	if (first.shape->control == X86_INVALID)
		return;
	require(first.length > 0 && first.length <= X86_MAX_LENGTH);
	require(first.length <= size);
	for (size_t length = 0; length <= first.length; length++) {
		uint8_t *exact = malloc(length + 1); /* for ASan's red zones */

		require(exact != NULL);
		memcpy(exact + 1, bytes, length);
		x86_decode(exact + 1, length, &again);
		require((again.shape == first.shape) ==
			(length == first.length));
		free(exact);
	}
}

/* Everything reported is in order, and in the run. */
static void check_run(uint64_t start, size_t size)
{
	uint64_t before = 0;

	require(run.end >= start && run.end <= START + size);
	require(run.end - start < X86_MAX_RUN + X86_MAX_LENGTH);
	require(run.ending >= X86_FALL && run.ending <= X86_INVALID);
	require(run.branch_count < X86_MAX_REPORTS);
	require(run.indirect_call_count < X86_MAX_REPORTS);
	require(run.reference_count < X86_MAX_REPORTS);
	require(run.kernel_entry_count < X86_MAX_REPORTS);
	for (uint64_t i = 0; i < run.reference_count; i++) {
		require(run.references[i].ip >= before);
		require(run.references[i].ip < run.end);
		before = run.references[i].ip;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct x86_region region = { bytes, NULL, size, START, 0, 0, 1, 0xcc };

	region.marks = calloc(size + 1, 1);
	require(region.marks != NULL);
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

static uint32_t next_random(void)
{
	static uint32_t state = 2463534242U; /* the same inputs every time */

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

/* Bytes of which many begin an instruction that has several parts. */
static uint8_t next_byte(void)
{
	static const uint8_t openings[] = {
		0x0f, 0x38, 0x3a, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x41,
		0x62, 0xc4, 0xc5, 0x8f, 0xe8, 0xff, 0x05, 0x04, 0x25, 0xcc,
	};
	uint32_t random = next_random();

	return random & 256 ? (uint8_t)random :
			      openings[random % sizeof(openings)];
}

static int generate(long seconds)
{
	time_t end = time(NULL) + seconds;
	unsigned long inputs = 0;

	for (; time(NULL) < end; inputs++) {
		/* one in 64 is longer than a run */
		size_t size = next_random() % (inputs % 64 ? 48U : 12288U);
		uint8_t *bytes = malloc(size + 1);

		require(bytes != NULL);
		for (size_t i = 0; i < size; i++)
			bytes[1 + i] = inputs % 128 ? next_byte() : 0x90;
		LLVMFuzzerTestOneInput(bytes + 1, size);
		free(bytes);
	}
	printf("%lu inputs\n", inputs);
	return 0;
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	static uint8_t bytes[MAX_SIZE];
	uint8_t *exact;
	size_t size;

	if (argc == 3 && strcmp(argv[1], "--generate") == 0)
		return generate(strtol(argv[2], NULL, 10));
	size = fread(bytes, 1, sizeof(bytes), stdin);
	exact = malloc(size + 1);
	if (argc != 1 || exact == NULL)
		return 2;
	memcpy(exact + 1, bytes, size);
	LLVMFuzzerTestOneInput(exact + 1, size);
	free(exact);
	return 0;
}
#endif
