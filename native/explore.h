/*
 * Which code can be reached from a set of entries?  The bookkeeping: what waits
 * to be followed, which runs there are and which function first reached each,
 * which functions return.  What an address means is asked of the caller, and
 * machine code is read by a decoder that is an argument.
 */
#ifndef SHIM_EXPLORE_H
#define SHIM_EXPLORE_H

#include <stddef.h>
#include <stdint.h>

#include "x86_run.h"

/* Numbers that are appended one after another; `count` of them. */
struct explore_list {
	uint64_t *numbers;
	size_t count;
	size_t capacity;
};

/* A run as `struct x86_run` has it; its reports begin at these places of the
 * lists of all of them.  Each pair takes two numbers, each reference four. */
struct explore_run {
	uint64_t start;
	uint64_t end;
	uint64_t last;
	uint64_t ending;
	uint64_t target;
	uint64_t overlapped; /* some other run has the same bytes */
	uint64_t function;
	uint64_t came_from;
	uint64_t branches;
	uint64_t branch_count;
	uint64_t calls;
	uint64_t call_count;
	uint64_t indirect_calls;
	uint64_t indirect_call_count;
	uint64_t references;
	uint64_t reference_count;
	uint64_t kernel_entries;
	uint64_t kernel_entry_count;
	uint64_t next; /* of the same function */
};

/* As Python has it: `last` is the instruction that ends it, 0 for none. */
struct explore_block {
	uint64_t start;
	uint64_t end;
	uint64_t last;
	uint64_t ending;
	uint64_t target;
	uint64_t run; /* where the run begins that it is cut from */
};
#define EXPLORE_BLOCK_SIZE 6

/* Where a jump leads: into the same function, to the entry of any, elsewhere
 * into the one whose entry is `owner`. */
enum explore_edge { EXPLORE_INSIDE, EXPLORE_ENTRY, EXPLORE_ELSEWHERE };

struct explore_function {
	uint64_t entry;
	uint64_t returns;
	uint64_t waiting;      /* first and last of the links, 0 for none */
	uint64_t last_waiting;
	uint64_t returns_into; /* likewise */
	uint64_t last_returns_into;
	uint64_t runs; /* first and last */
	uint64_t last_run;
};

/* What the caller is asked; `who` is the caller's own. */
struct explore_questions {
	/* it looks at what a new run names */
	void (*references)(void *who, uint64_t run);
	/* it adds where unwinding through a new function goes on */
	void (*unwind)(void *who, uint64_t function);
	/* where the pointer at SLOT leads; 0 if that can change */
	uint64_t (*pointer)(void *who, uint64_t slot);
	int (*executable)(void *who, uint64_t address);
	/* it follows the indirect jump that ends a run, on one path to it */
	void (*computed)(void *who, uint64_t run, uint64_t start,
			 uint64_t came_from);
	/* it decodes the run at ADDRESS into `run`, and adds its calls; only
	 * where there is no decoder */
	void (*decode)(void *who, uint64_t address);
	/* whether an instruction of the run begins at ADDRESS */
	int (*begins)(void *who, uint64_t run, uint64_t address);
};
/* None for an instruction set that is read by the caller. */
struct explore_decoder {
	void (*run)(const struct x86_region *region, uint64_t start,
		    struct x86_run *run);
	void (*run_on)(const struct x86_region *region, struct x86_run *run);
};

/* From numbers to numbers. */
struct explore_table {
	uint64_t *slots; /* pairs of a key + 1 and a value; 0 is empty */
	size_t count;
	size_t capacity;
};

struct explore {
	const struct x86_region *const *regions; /* by address */
	size_t region_count;
	struct explore_decoder decoder;
	struct explore_questions ask;
	void *who;
	int stopped; /* no memory, or the caller has an error */

	struct explore_run *runs;
	size_t run_count;
	size_t run_capacity;
	struct explore_function *functions;
	size_t function_count;
	size_t function_capacity;
	struct explore_list branches;
	struct explore_list calls;
	struct explore_list indirect_calls;
	struct explore_list references;
	struct explore_list kernel_entries;
	struct explore_list callers;  /* (function's entry, instruction) */
	struct explore_list inside;   /* (address, jump to it from outside) */
	struct explore_list uses;     /* (function, instruction, address) */
	struct explore_list returned; /* functions, as they were found to */

	struct explore_list queue; /* (address, function, came from) */
	size_t queue_head;
	struct explore_list links; /* (number, function or 0, next) */
	struct explore_list stack;
	struct explore_list blocks; /* struct explore_block, of one function */
	struct explore_list edges; /* (block, target, kind, owner) of the same */
	struct explore_table starts;
	struct explore_table unwound;
	struct explore_table functions_at;
	struct explore_table runs_at;
	size_t region; /* where the last address was */
	struct x86_run run;
};

#define EXPLORE_NONE UINT64_MAX

/* Memory of zeros but for the first members up to `who`, and release of what
 * was allocated in it. */
void explore_release(struct explore *explore);

/* A known function begins at ADDRESS; unwinding through it goes on elsewhere if
 * UNWOUND. */
void explore_start(struct explore *explore, uint64_t address, int unwound);

/* Follow everything that waits. */
void explore_all(struct explore *explore);

/* What an answer may do: each as if the code had been found to do it. */
uint64_t explore_enter(struct explore *explore, uint64_t entry);
void explore_later(struct explore *explore, uint64_t address, uint64_t function,
		   uint64_t came_from);
void explore_call(struct explore *explore, uint64_t ip, uint64_t target);
void explore_use(struct explore *explore, uint64_t function, uint64_t ip,
		 uint64_t address);
void explore_jump(struct explore *explore, uint64_t target, uint64_t ip,
		  uint64_t function);
void explore_tail(struct explore *explore, uint64_t target, uint64_t ip,
		  uint64_t function);
void explore_returns(struct explore *explore, uint64_t function);

/* The run with an instruction at ADDRESS or around it, the last that began at
 * START, the function with this ENTRY; EXPLORE_NONE where there is none. */
uint64_t explore_containing(struct explore *explore, uint64_t address);
uint64_t explore_run_at(const struct explore *explore, uint64_t start);

/* Cut a function into `blocks`; when everything has been followed. */
void explore_cut(struct explore *explore, uint64_t function);

/* Cut a function, and add to `edges` where control goes from its blocks by
 * jumps and by falling through; computed jumps apart. */
void explore_connect(struct explore *explore, uint64_t function);

/* Whether the function at ENTRY was seen to return. */
int explore_is_returning(const struct explore *explore, uint64_t entry);

#endif
