/*
 * The kernel's classic BPF machine for seccomp: is a filter well-formed, what
 * does it say of one call, and what can it say of a whole range of calls?
 */
#ifndef SHIM_BPF_H
#define SHIM_BPF_H

#include <stddef.h>
#include <stdint.h>

#include "uapi.h"

#define BPF_MAX_COUNT 4096

/* All values of a 32-bit word from LOW to HIGH, both included. */
struct bpf_range {
	uint32_t low;
	uint32_t high;
};

/* What is known where control reaches an instruction: room that the caller
 * lends, one for each. */
struct bpf_state {
	struct bpf_range a;
	struct bpf_range x;
	uint16_t stored;	/* memory words surely written before */
	uint8_t reached;
};

/*
 * Returns COUNT if the kernel would accept the filter, else the index of the
 * first instruction at fault (kernel/seccomp.c seccomp_check_filter and
 * net/core/filter.c bpf_check_classic, v6.18).
 * Pre: STATES has COUNT elements.
 */
size_t bpf_check(const uint8_t *filter, size_t count,
		 struct bpf_state *states);

/*
 * Returns the 32-bit verdict on one call.
 * Pre: bpf_check(filter, count, states) == count.
 */
uint32_t bpf_run(const uint8_t *filter, size_t count,
		 const struct uapi_seccomp_data *call);

/*
 * Returns COUNT if every call with its number in NR and its architecture in
 * ARCH ends in an action of ACTIONS whatever its arguments and address, else
 * the index of a return that may say otherwise.  May name a return that no
 * call reaches; never misses one.
 * Pre: bpf_check(filter, count, states) == count; STATES has COUNT elements.
 */
enum bpf_actions {
	BPF_REFUSALS,		/* the call is not made, whoever traces */
	BPF_NO_NOTIFICATION,	/* anything but USER_NOTIF */
	BPF_TRACED_REFUSALS,	/* the call is not made, unless the tracer says so */
};
size_t bpf_prove(const uint8_t *filter, size_t count, struct bpf_range nr,
		 struct bpf_range arch, enum bpf_actions actions,
		 struct bpf_state *states);

#endif
