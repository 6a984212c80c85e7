/*
 * The loop over the instructions of a run.  Which addresses one names comes
 * before where it goes, so that reports stand in the order of the code.
 */
#include "x86_run.h"

#include "x86_decode.h"

/* int n with this n enters the kernel: arch/x86/include/asm/irq_vectors.h. */
#define INT_SYSCALL 0x80

/* The instruction being looked at: its bytes, where it begins and ends. */
struct place {
	const uint8_t *bytes;
	uint64_t ip;
	uint64_t end;
};

static void report_reference(const struct x86_region *region,
			     struct x86_run *run, uint64_t ip, uint64_t address,
			     unsigned use, unsigned size)
{
	struct x86_reference *reference;

	if (address < region->lowest || address >= region->highest)
		return;
	reference = &run->references[run->reference_count++];
	reference->ip = ip;
	reference->address = address;
	reference->use = use;
	reference->size = size;
}

static void report_memory(const struct x86_region *region, struct x86_run *run,
			  const struct x86_instruction *instruction,
			  const struct place *place)
{
	const struct x86_shape *shape = instruction->shape;
	unsigned use = shape->use;
	unsigned size = shape->size;

	if (instruction->address != X86_RELATIVE && !region->absolute)
		return;
	if (instruction->address == X86_BASED && use != X86_ADDRESS) {
		use = X86_INDEXED;
		size = 0;
	}
	report_reference(region, run, place->ip,
			 x86_named_address(instruction, place->end), use, size);
}

static void report_immediate(const struct x86_region *region,
			     struct x86_run *run,
			     const struct x86_instruction *instruction,
			     const struct place *place)
{
	int is_signed = instruction->shape->literal == X86_SIGNED;

	report_reference(region, run, place->ip,
			 x86_immediate(place->bytes, instruction, is_signed),
			 X86_ADDRESS, 0);
}

static void report_pair(struct x86_pair *pairs, uint64_t *count, uint64_t ip,
			uint64_t value)
{
	pairs[*count].ip = ip;
	pairs[*count].value = value;
	*count += 1;
}

/* Where a direct branch goes; 0 where there is none, as for VMCALL. */
static uint64_t direct_target(const struct x86_instruction *instruction,
			      const struct place *place)
{
	if (instruction->shape->immediate == 0)
		return 0;
	return place->end + x86_immediate(place->bytes, instruction, 1);
}

/* The pointer that an indirect branch goes through, if no register says it. */
static uint64_t pointer_of(const struct x86_instruction *instruction,
			   const struct place *place)
{
	if (instruction->address == X86_RELATIVE ||
	    (instruction->address == X86_ABSOLUTE && !instruction->segment))
		return x86_named_address(instruction, place->end);
	return 0;
}

static int leave(struct x86_run *run, const struct place *place,
		 unsigned ending, uint64_t target)
{
	run->end = place->end;
	run->last = place->ip;
	run->ending = ending;
	run->target = target;
	return 1;
}

/* The byte behind, which may be the first of another region. */
static uint8_t byte_behind(const struct x86_region *region, uint64_t end)
{
	size_t at = (size_t)(end - region->start);

	return at < region->size ? region->bytes[at] : region->behind;
}

/* Report how control goes on behind the instruction; return whether the run
 * ends with it. */
static int follow(const struct x86_region *region, struct x86_run *run,
		  const struct x86_instruction *instruction,
		  const struct place *place)
{
	enum x86_control control = instruction->shape->control;
	uint64_t target;

	switch (control) {
	case X86_NEXT:
	case X86_FALL:
		return 0;
	case X86_BRANCH:
	case X86_TRANSACTION:
		report_pair(run->branches, &run->branch_count, place->ip,
			    direct_target(instruction, place));
		return 0;
	case X86_CALL:
		target = direct_target(instruction, place);
		/* `call next; pop` reads the instruction pointer */
		return target != place->end &&
		       leave(run, place, control, target);
	case X86_CALL_INDIRECT:
		target = pointer_of(instruction, place);
		if (target != 0)
			return leave(run, place, control, target);
		run->indirect_calls[run->indirect_call_count++] = place->ip;
		return 0;
	case X86_JUMP:
		target = direct_target(instruction, place);
		return leave(run, place, control, target);
	case X86_JUMP_INDIRECT:
		target = pointer_of(instruction, place);
		return leave(run, place, control, target);
	case X86_RETURN:
	case X86_STOP:
		return leave(run, place, control, 0);
	case X86_SYSCALL:
	case X86_SYSENTER:
		report_pair(run->kernel_entries, &run->kernel_entry_count,
			    place->ip, control);
		return 0;
	case X86_INTERRUPT:
		if (place->bytes[instruction->length - 1] == INT_SYSCALL)
			report_pair(run->kernel_entries,
				    &run->kernel_entry_count, place->ip,
				    control);
		return 0;
	case X86_BREAKPOINT:
		/* Padding is int3 after int3; a single one may be a breakpoint
		 * that a handler steps over. */
		return byte_behind(region, place->end) == 0xcc &&
		       leave(run, place, X86_STOP, 0);
	case X86_INVALID:
		run->end = place->ip;
		run->last = 0;
		run->ending = X86_INVALID;
		run->target = 0;
		return 1;
	}
	return 1;
}

/* Mark what begins at AT, behind an instruction; return whether the run falls
 * through there. */
static int arrive(const struct x86_region *region, struct x86_run *run,
		  uint64_t at)
{
	uint8_t *mark = &region->marks[at - region->start];

	if (at >= run->limit || *mark != 0) {
		run->end = at;
		run->last = 0;
		run->ending = X86_FALL;
		run->target = 0;
		return 1;
	}
	*mark = X86_MARK;
	return 0;
}

static void follow_from(const struct x86_region *region, uint64_t ip,
			struct x86_run *run)
{
	struct x86_instruction instruction;
	struct place place = { NULL, ip, ip };

	do {
		size_t at = (size_t)(place.end - region->start);

		place.bytes = region->bytes + at;
		place.ip = place.end;
		x86_decode(place.bytes, region->size - at, &instruction);
		place.end = place.ip + instruction.length;
		if (instruction.wide && instruction.shape->use != X86_NO_USE)
			report_memory(region, run, &instruction, &place);
		if (region->absolute &&
		    (instruction.shape->literal == X86_UNSIGNED ||
		     instruction.shape->literal == X86_SIGNED))
			report_immediate(region, run, &instruction, &place);
		if (follow(region, run, &instruction, &place))
			return;
	} while (!arrive(region, run, place.end));
}

/* Whether the last instruction that was decoded before START extends over it:
 * some code is jumped into, or was data that looked like code. */
static int is_overlapped(const struct x86_region *region, uint64_t start)
{
	struct x86_instruction instruction;
	size_t at = (size_t)(start - region->start);

	for (size_t back = 1; back < X86_MAX_LENGTH && back <= at; back++)
		if (region->marks[at - back] != 0 &&
		    region->marks[at - back] != X86_MARK_START) {
			x86_decode(region->bytes + at - back,
				   region->size - at + back, &instruction);
			return instruction.length > back;
		}
	return 0;
}

void x86_run(const struct x86_region *region, uint64_t start,
	     struct x86_run *run)
{
	uint64_t end = region->start + region->size;

	run->overlapped = (uint64_t)is_overlapped(region, start);
	run->branch_count = 0;
	run->indirect_call_count = 0;
	run->reference_count = 0;
	run->kernel_entry_count = 0;
	run->limit = end - start < X86_MAX_RUN ? end : start + X86_MAX_RUN;
	region->marks[start - region->start] = X86_MARK_RUN;
	follow_from(region, start, run);
}

void x86_run_on(const struct x86_region *region, struct x86_run *run)
{
	if (!arrive(region, run, run->end))
		follow_from(region, run->end, run);
}
