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
#include "load.h"
#include "plan.h"
#include "sha256.h"

#define SEED_SIZE 2048

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

/* What the launcher relies on when it relocates and seals. */
static void check_moved(const struct plan *plan)
{
	for (size_t i = 0; i < plan->relocation_count; i++)
		if (load32_le(plan->relocations + i * PLAN_RELOCATION_SIZE) >=
		    plan->filter_count)
			abort();
	for (size_t i = 0; i < plan->object_seal_count; i++)
		if (load32_le(plan->object_seals + i * PLAN_OBJECT_SEAL_SIZE) >=
		    plan->object_count)
			abort();
	for (size_t i = 0; i < plan->sealed_count; i++) {
		const uint8_t *entry = plan->sealed + i * PLAN_SEALED_SIZE;
		uint64_t address = load64_le(entry);
		uint64_t size = load64_le(entry + 8);

		if (size == 0 || address + size < address ||
		    (address | size) % PLAN_PAGE != 0)
			abort();
	}
}

/* Stages tile their filters and their relocations. */
static void check_stages(const struct plan *plan)
{
	size_t filters = 0;
	size_t relocations = 0;

	for (size_t i = 0; i < plan->stage_count; i++) {
		const uint8_t *stage = plan->stages + i * PLAN_STAGE_SIZE;

		for (uint32_t j = load32_le(stage + 12); j > 0; j--) {
			const uint8_t *entry = plan->stage_relocations +
				relocations++ * PLAN_RELOCATION_SIZE;

			if (load32_le(entry) >= load32_le(stage + 8) ||
			    load16_le(entry + 4) >= PLAN_MOVED_OBJECT +
						    plan->object_count)
				abort();
		}
		filters += load32_le(stage + 8);
	}
	if (filters != plan->stage_filter_count ||
	    relocations != plan->stage_relocation_count)
		abort();
}

/* And what the first process of a machine walks and copies. */
static void check_machine(const struct plan *plan)
{
	size_t at = 0;

	for (; at < plan->modules_size;
	     at += plan_module_size(plan->modules + at))
		if (plan->modules[at + PLAN_MODULE_SIZE] != '/')
			abort();
	if (at != plan->modules_size)
		abort();
	if (plan->hostname != NULL && strlen(plan->hostname) > PLAN_MAX_HOSTNAME)
		abort();
	if (plan->channel != NULL &&
	    (strlen(plan->channel_name) > PLAN_MAX_PORT_NAME ||
	     strlen(plan->secret_path) > PLAN_MAX_SECRET_PATH ||
	     (plan->secret_path[0] != 0 && plan->secret_path[0] != '/')))
		abort();
}

/* Paths can be walked as the launcher does it. */
static void check_paths(const struct plan *plan)
{
	size_t at = 0;

	while (at < plan->paths_size) {
		const char *path = (const char *)plan->paths + at + 8;

		if (path[0] != '/')
			abort();
		at += plan_path_size(plan->paths + at);
	}
	if (at != plan->paths_size)
		abort();
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
		check_moved(&plan);
		check_stages(&plan);
		check_paths(&plan);
		check_machine(&plan);
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
	static const uint8_t digest[PLAN_DIGEST_SIZE];
	static const uint32_t filter[14] = {
		0x20, 4, 0x00010015, 0xc000003e, 0x06, 0x80000000, 0x20, 0,
		0x01000015, 59, 0x06, 0x7fff0000, 0x06, 0x7fc00000,
	};
	static const uint64_t entry_point = 0x1040;
	static const uint32_t relocations[4] = { 1, 0, 4, 0x00020001 };
	static const uint64_t sealed[4] = { 0, 4096, 16384, 8192 };
	static const uint8_t object[PLAN_OBJECT_SIZE];
	static const uint64_t object_seal[3] = { 0, 4096, 4096 };
	static const uint32_t stages[8] = { 0x1040, 0, 7, 1, 0x2000, 0, 7, 1 };
	static const uint32_t stage_relocations[4] = { 3, 0x00000002, 5, 1 };
	static const uint64_t landlock[3] = { 0xf, 3, 2 };
	static const uint64_t paths[4] = { 1, 0x7273752f, 4, 0x62696c2f };
	static const uint64_t ports[4] = { 1, 80, 2, 443 };
	static const uint32_t identity[2] = { 1000, 1000 };
	static const uint32_t namespaces[2] = { 0x20000000, 0 };
	static const uint64_t timeout = 1000000000;
	static const uint64_t cgroup[5] = { 1 << 20, 9, 50000, 100000, 0x7379732f };
	static const uint8_t modules[40] = { [32] = '/', 'm' };
	static const uint32_t network[8] = { 2, 1, 24, 2, 3, 4, 0, 0 };
	static const uint32_t channel[18] = { 1, 3, 1, [8] = 1, [16] = 0x612f0070,
					      0x622f };
	uint32_t filters[28];
	const struct {
		uint32_t kind;
		uint32_t size;
		const void *content;
	} sections[] = {
		{ PLAN_PROGRAM, 7, "/bin/a" },
		{ PLAN_DIGEST, sizeof(digest), digest },
		{ PLAN_FILTER, sizeof(filter), filter },
		{ PLAN_ARGV, 2, "a" },
		{ PLAN_ENTRY_POINT, sizeof(entry_point), &entry_point },
		{ PLAN_RELOCATIONS, sizeof(relocations), relocations },
		{ PLAN_SEALED, sizeof(sealed), sealed },
		{ PLAN_OBJECTS, sizeof(object), object },
		{ PLAN_OBJECT_SEALS, sizeof(object_seal), object_seal },
		{ PLAN_STAGES, sizeof(stages), stages },
		{ PLAN_STAGE_FILTERS, sizeof(filters), filters },
		{ PLAN_STAGE_RELOCATIONS, sizeof(stage_relocations),
		  stage_relocations },
		{ PLAN_LANDLOCK, sizeof(landlock), landlock },
		{ PLAN_PATHS, sizeof(paths), paths },
		{ PLAN_PORTS, sizeof(ports), ports },
		{ PLAN_IDENTITY, sizeof(identity), identity },
		{ PLAN_NAMESPACES, sizeof(namespaces), namespaces },
		{ PLAN_TIMEOUT, sizeof(timeout), &timeout },
		{ PLAN_CGROUP, 32 + sizeof("/sys"), cgroup },
		{ PLAN_MODULES, sizeof(modules), modules },
		{ PLAN_NETWORK, sizeof(network), network },
		{ PLAN_HOSTNAME, 5, "host" },
		{ PLAN_CHANNEL, 71, channel },
	};
	const uint32_t count = sizeof(sections) / sizeof(sections[0]);
	const uint32_t head[6] = { 0x00010001, 0, count, 0, 0, 0 };
	uint32_t offset = PLAN_HEADER_SIZE + count * PLAN_ENTRY_SIZE;

	memcpy(filters, filter, sizeof(filter));
	memcpy(filters + 14, filter, sizeof(filter));
	memset(bytes, 0, SEED_SIZE);
	memcpy(bytes, PLAN_MAGIC, 8);
	memcpy(bytes + 8, head, sizeof(head));
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t entry[4] = { sections[i].kind, offset,
					    sections[i].size, 0 };

		memcpy(bytes + PLAN_HEADER_SIZE + i * PLAN_ENTRY_SIZE, entry,
		       sizeof(entry));
		memcpy(bytes + offset, sections[i].content, sections[i].size);
		offset += (sections[i].size + 7) & ~7U;
	}
	memcpy(bytes + 12, &offset, sizeof(offset));
	return offset;
}

static int mutate(long seconds)
{
	uint8_t seed[SEED_SIZE];
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
