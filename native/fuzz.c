/*
 * The readers of foreign bytes under sanitizers, in two ways: one input from a
 * file (libFuzzer's entry is compatible), or mutations for some seconds.
 * A test program, as the other fuzz files: no other file here uses stdio.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpf.h"
#include "fuzz_input.h"
#include "plan.h"
#include "sha256.h"

static struct bpf_state states[BPF_MAX_COUNT];

/* A proof over a range must hold for each call of it that is then tried. */
static void compare_proof_with_runs(const uint8_t *filter, size_t count,
				    uint32_t seed)
{
	struct bpf_range nr = { seed % 600, seed % 600 + seed % 7 };
	struct bpf_range arch = { 0xc000003eU, 0xc000003eU };
	struct uapi_seccomp_data call = { 0, arch.low, seed, { seed } };

	if (bpf_prove(filter, count, nr, arch, BPF_REFUSALS, states) != count)
		return;
	for (uint32_t number = nr.low; number <= nr.high; number++) {
		uint32_t action;

		call.nr = (int32_t)number;
		action = bpf_run(filter, count, &call) & 0xffff0000U;
		if (action == UAPI_SECCOMP_RET_ALLOW ||
		    action == UAPI_SECCOMP_RET_LOG ||
		    action == UAPI_SECCOMP_RET_TRACE)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct plan plan;
	struct plan_fault fault;
	struct sha256 hash;
	uint8_t digest[SHA256_SIZE];
	uint32_t seed;

	sha256_begin(&hash, sha256_blocks_portable);
	sha256_add(&hash, bytes, size);
	sha256_end(&hash, digest);
	memcpy(&seed, digest, sizeof(seed));
	if (plan_read(bytes, size, &plan, &fault) == 0) {
		bytes = plan.filter;
		size = plan.filter_count * 8;
	} else if (fault.found[0] == 0 ||
		   strlen(fault.found) + 1 == sizeof(fault.found)) {
		abort(); /* says nothing, or may have been cut */
	}
	if (size >= 8 && size / 8 <= BPF_MAX_COUNT &&
	    bpf_check(bytes, size / 8, states) == size / 8)
		compare_proof_with_runs(bytes, size / 8, seed);
	return 0;
}

/* A valid plan with a filter of a few instructions to start from. */
static size_t write_seed(uint8_t *bytes)
{
	static const uint8_t path[8] = "/bin/a";
	static const uint32_t head[6] = { 0x00010001, 0, 4, 0, 0, 0 };
	static const uint32_t sizes[4] = { 7, 32, 7 * 8, 2 };
	static const uint32_t filter[14] = {
		0x20, 4, 0x00010015, 0xc000003e, 0x06, 0x80000000, 0x20, 0,
		0x01000015, 59, 0x06, 0x7fff0000, 0x06, 0x7fc00000,
	};
	uint32_t offset = PLAN_HEADER_SIZE + 4 * PLAN_ENTRY_SIZE;

	memset(bytes, 0, 512);
	memcpy(bytes, PLAN_MAGIC, 8);
	memcpy(bytes + 8, head, sizeof(head));
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t entry[4] = { i + 1, offset, sizes[i], 0 };

		memcpy(bytes + PLAN_HEADER_SIZE + i * PLAN_ENTRY_SIZE, entry,
		       sizeof(entry));
		if (i == 0)
			memcpy(bytes + offset, path, sizeof(path));
		if (i == 2)
			memcpy(bytes + offset, filter, sizeof(filter));
		offset += (sizes[i] + 7) & ~7U;
	}
	memcpy(bytes + offset - 8, "a", 2);
	memcpy(bytes + 12, &offset, sizeof(offset));
	return offset;
}

static int mutate(long seconds)
{
	uint8_t seed[512];
	uint8_t *bytes;
	size_t whole = write_seed(seed);
	struct plan plan;
	struct plan_fault fault;
	time_t end = time(NULL) + seconds;
	unsigned long runs = 0;

	if (plan_read(seed, whole, &plan, &fault) != 0)
		return 1; /* a seed that is refused finds nothing */
	for (; time(NULL) < end; runs++) {
		size_t size = runs % 4 ? whole : fuzz_random() % (whole + 1);

		bytes = malloc(size + 1); /* exact, for ASan's red zones */
		if (bytes == NULL)
			return 1;
		memcpy(bytes, seed, size);
		for (uint32_t i = fuzz_random() % 6; i > 0 && size > 0; i--)
			bytes[fuzz_random() % size] =
				(uint8_t)(fuzz_random() % 3 ? fuzz_random() :
					  1U << fuzz_random() % 8);
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
	printf("%lu inputs\n", runs);
	return 0;
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--mutate", mutate, PLAN_MAX_SIZE, 0);
}
#endif
