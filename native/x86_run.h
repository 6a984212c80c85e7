/*
 * What shim.analysis.decode asks of machine code, over as many instructions as
 * can be answered in one go.  It knows bytes and addresses, no programs.
 */
#ifndef SHIM_X86_RUN_H
#define SHIM_X86_RUN_H

#include <stddef.h>
#include <stdint.h>

/* Bytes after which a run ends at the next instruction. */
#define X86_MAX_RUN 4096

/* What a mark says of its byte: an instruction that was decoded begins there, a
 * run does; or it was not decoded, but a function begins there.
 * shim.analysis.decode has the same numbers. */
#define X86_MARK 1
#define X86_MARK_LEADER 2
#define X86_MARK_RUN 3
#define X86_MARK_START 4

/* No instruction that is reported has fewer than 2 bytes, and none that has two
 * references fewer than 10, so that no run can report more than this. */
#define X86_MAX_REPORTS (X86_MAX_RUN / 2 + 1)

/* Executable bytes, in one piece, at their address. */
struct x86_region {
	const uint8_t *bytes; /* `size` of them */
	uint8_t *marks;	      /* `size` + 1 of them */
	size_t size;
	uint64_t start;
	uint64_t lowest;      /* of the image that they belong to */
	uint64_t highest;
	uint8_t absolute; /* the image has no choice where it is mapped */
	uint8_t behind;	  /* the byte at the end, 0 if there is none */
};

/* As shim.analysis.decode.Run describes it; `use` is of enum x86_use. */
struct x86_reference {
	uint64_t ip;
	uint64_t address;
	uint64_t use;
	uint64_t size;
};
struct x86_pair {
	uint64_t ip;
	uint64_t value;
};
struct x86_run {
	uint64_t end;
	uint64_t last;
	uint64_t ending; /* of enum x86_control */
	uint64_t target;
	uint64_t branch_count;
	uint64_t indirect_call_count;
	uint64_t reference_count;
	uint64_t kernel_entry_count; /* up to here read as one array */
	uint64_t overlapped; /* 1 if it begins inside an instruction */
	uint64_t limit;
	struct x86_pair branches[X86_MAX_REPORTS];
	uint64_t indirect_calls[X86_MAX_REPORTS];
	struct x86_reference references[X86_MAX_REPORTS];
	struct x86_pair kernel_entries[X86_MAX_REPORTS];
};

/* Follow the instructions from START, which is in REGION, and mark them. */
void x86_run(const struct x86_region *region, uint64_t start,
	     struct x86_run *run);

/* Go on behind the call at which RUN ended; what it reported stays. */
void x86_run_on(const struct x86_region *region, struct x86_run *run);

#endif
