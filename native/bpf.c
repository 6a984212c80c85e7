/*
 * What does a seccomp filter say?  Total: every loop goes forward through the
 * filter once, as the machine itself does, since its jumps only go forward.
 */
#include "bpf.h"

#include <string.h>

#include "load.h"

/* linux/bpf_common.h, v6.18: a code is class | size or operation | source */
enum {
	LD = 0x00, LDX = 0x01, ST = 0x02, STX = 0x03,
	ALU = 0x04, JMP = 0x05, RET = 0x06, MISC = 0x07,
	CLASS = 0x07,
	IMM = 0x00, ABS = 0x20, MEM = 0x60, LEN = 0x80,
	ADD = 0x00, SUB = 0x10, MUL = 0x20, DIV = 0x30, OR = 0x40, AND = 0x50,
	LSH = 0x60, RSH = 0x70, NEG = 0x80, XOR = 0xa0,
	JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40,
	OPERATION = 0xf0,
	K = 0x00, X = 0x08, A = 0x10,
	TAX = 0x00, TXA = 0x80,
};

#define MEMORY_WORDS 16
#define DATA_SIZE ((uint32_t)sizeof(struct uapi_seccomp_data))
#define ANY ((struct bpf_range){ 0, UINT32_MAX })

struct instruction {
	uint16_t code;
	uint8_t jt;
	uint8_t jf;
	uint32_t k;
};

static struct instruction fetch(const uint8_t *filter, size_t at)
{
	const uint8_t *bytes = filter + at * 8;

	return (struct instruction){ load16_le(bytes), bytes[2], bytes[3],
				     load32_le(bytes + 4) };
}

/* Is the code one of seccomp's, and its constant one the machine can use? */
static int is_known(struct instruction in)
{
	switch (in.code) {
	case LD | ABS:
		return in.k < DATA_SIZE && in.k % 4 == 0;
	case LD | LEN: case LDX | LEN: case LD | IMM: case LDX | IMM:
	case RET | K: case RET | A: case MISC | TAX: case MISC | TXA:
	case ALU | ADD | K: case ALU | ADD | X: case ALU | SUB | K:
	case ALU | SUB | X: case ALU | MUL | K: case ALU | MUL | X:
	case ALU | DIV | X: case ALU | AND | K: case ALU | AND | X:
	case ALU | OR | K: case ALU | OR | X: case ALU | XOR | K:
	case ALU | XOR | X: case ALU | LSH | X: case ALU | RSH | X:
	case ALU | NEG: case JMP | JA: case JMP | JEQ | K: case JMP | JEQ | X:
	case JMP | JGT | K: case JMP | JGT | X: case JMP | JGE | K:
	case JMP | JGE | X: case JMP | JSET | K: case JMP | JSET | X:
		return 1;
	case ALU | DIV | K:
		return in.k != 0;
	case ALU | LSH | K: case ALU | RSH | K:
		return in.k < 32;
	case LD | MEM: case LDX | MEM: case ST: case STX:
		return in.k < MEMORY_WORDS;
	}
	return 0;
}

/*
 * Where does control go from AT?  Returns the number of places written.
 * Post: each may lie at or beyond the end: bpf_check refuses that.
 */
static int successors(struct instruction in, size_t at, size_t places[2])
{
	if ((in.code & CLASS) == RET)
		return 0;
	if ((in.code & CLASS) != JMP) {
		places[0] = at + 1;
		return 1;
	}
	if ((in.code & OPERATION) == JA) {
		places[0] = at + 1 + in.k;
		return 1;
	}
	places[0] = at + 1 + in.jt;
	places[1] = at + 1 + in.jf;
	return 2;
}

size_t bpf_check(const uint8_t *filter, size_t count, struct bpf_state *states)
{
	uint16_t words = 0;
	size_t places[2];

	if (count == 0 || count > BPF_MAX_COUNT)
		return 0;
	for (size_t at = 0; at < count; at++)
		states[at].stored = 0xffff;
	for (size_t at = 0; at < count; at++) {
		struct instruction in = fetch(filter, at);
		int jumps = (in.code & CLASS) == JMP;

		if (!is_known(in))
			return at;
		words &= states[at].stored;
		if (in.code == ST || in.code == STX)
			words |= (uint16_t)(1U << in.k);
		if ((in.code == (LD | MEM) || in.code == (LDX | MEM)) &&
		    !(words & 1U << in.k))
			return at;
		for (int i = successors(in, at, places); i-- > 0;) {
			if (jumps && places[i] >= count)
				return at;
			if (jumps)
				states[places[i]].stored &= words;
		}
		if (jumps)
			words = 0xffff;
	}
	return (fetch(filter, count - 1).code & CLASS) == RET ? count
							       : count - 1;
}

static uint32_t load_data(const struct uapi_seccomp_data *call, uint32_t at)
{
	uint32_t word;

	memcpy(&word, (const uint8_t *)call + at, sizeof(word));
	return word;
}

/* Pre: B is not 0 for DIV.  Shifts wrap, as the kernel's eBPF back end does. */
static uint32_t compute(uint16_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case ADD: return a + b;
	case SUB: return a - b;
	case MUL: return a * b;
	case DIV: return a / b;
	case OR: return a | b;
	case AND: return a & b;
	case LSH: return a << (b & 31);
	case RSH: return a >> (b & 31);
	case XOR: return a ^ b;
	}
	return 0U - a; /* NEG, the only one left of those is_known lets in */
}

static int holds(uint16_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case JEQ: return a == b;
	case JGT: return a > b;
	case JGE: return a >= b;
	}
	return (a & b) != 0; /* JSET */
}

uint32_t bpf_run(const uint8_t *filter, size_t count,
		 const struct uapi_seccomp_data *call)
{
	uint32_t memory[MEMORY_WORDS] = { 0 };
	uint32_t a = 0;
	uint32_t x = 0;

	for (size_t at = 0; at < count; at++) {
		struct instruction in = fetch(filter, at);
		uint16_t operation = in.code & OPERATION;
		uint32_t operand = in.code & X ? x : in.k;

		switch (in.code & CLASS) {
		case LD:
			a = in.code == (LD | ABS) ? load_data(call, in.k) :
			    in.code == (LD | MEM) ? memory[in.k] :
			    in.code == (LD | LEN) ? DATA_SIZE : in.k;
			break;
		case LDX:
			x = in.code == (LDX | MEM) ? memory[in.k] :
			    in.code == (LDX | LEN) ? DATA_SIZE : in.k;
			break;
		case ST:
			memory[in.k] = a;
			break;
		case STX:
			memory[in.k] = x;
			break;
		case ALU:
			if (operation == DIV && operand == 0)
				return UAPI_SECCOMP_RET_KILL_THREAD;
			a = compute(operation, a, operand);
			break;
		case JMP:
			at += operation == JA ? in.k :
			      holds(operation, a, operand) ? in.jt : in.jf;
			break;
		case RET:
			return in.code == (RET | A) ? a : in.k;
		case MISC:
			if (in.code == (MISC | TAX))
				x = a;
			else
				a = x;
			break;
		}
	}
	return UAPI_SECCOMP_RET_KILL_THREAD; /* not reached: the last is RET */
}

static int is_constant(struct bpf_range range)
{
	return range.low == range.high;
}

static struct bpf_range compute_range(uint16_t operation, struct bpf_range a,
				      struct bpf_range b)
{
	if (operation == DIV && b.low == 0)
		return ANY; /* the zero itself kills, which is a refusal */
	if (is_constant(a) && (is_constant(b) || operation == NEG)) {
		uint32_t value = compute(operation, a.low, b.low);

		return (struct bpf_range){ value, value };
	}
	if (operation == AND)
		return (struct bpf_range){ 0, a.high < b.high ? a.high
							       : b.high };
	if (operation == RSH && is_constant(b))
		return (struct bpf_range){ compute(RSH, a.low, b.low),
					   compute(RSH, a.high, b.low) };
	return ANY;
}

/* Bits that have the same value everywhere in RANGE. */
static uint32_t fixed_bits(struct bpf_range range)
{
	uint32_t differing = range.low ^ range.high;

	if (differing == 0)
		return UINT32_MAX;
	return ~(UINT32_MAX >> __builtin_clz(differing));
}

enum { MAY_HOLD = 1, MAY_FAIL = 2 };

static int compare_ranges(uint16_t operation, struct bpf_range a,
			  struct bpf_range b)
{
	uint32_t fixed;

	switch (operation) {
	case JEQ:
		if (is_constant(a) && is_constant(b) && a.low == b.low)
			return MAY_HOLD;
		return a.low > b.high || a.high < b.low ? MAY_FAIL
							: MAY_HOLD | MAY_FAIL;
	case JGT:
		return (a.high > b.low ? MAY_HOLD : 0) |
		       (a.low <= b.high ? MAY_FAIL : 0);
	case JGE:
		return (a.high >= b.low ? MAY_HOLD : 0) |
		       (a.low < b.high ? MAY_FAIL : 0);
	}
	if (!is_constant(b))
		return MAY_HOLD | MAY_FAIL;
	fixed = fixed_bits(a);
	if (a.low & fixed & b.low)
		return MAY_HOLD;
	return b.low & ~fixed ? MAY_HOLD | MAY_FAIL : MAY_FAIL;
}

static struct bpf_range join_ranges(struct bpf_range a, struct bpf_range b)
{
	return (struct bpf_range){ a.low < b.low ? a.low : b.low,
				   a.high > b.high ? a.high : b.high };
}

static void flow_to(struct bpf_state *to, const struct bpf_state *from)
{
	if (!to->reached) {
		*to = *from;
		to->reached = 1;
		return;
	}
	to->a = join_ranges(to->a, from->a);
	to->x = join_ranges(to->x, from->x);
}

/*
 * Is every value of RANGE among ACTIONS?  TRACE is no refusal: whoever traces
 * the program, even a child of its own, may let the call through.
 */
static int stays_within(struct bpf_range range, enum bpf_actions actions)
{
	uint32_t action = range.low & UAPI_SECCOMP_RET_ACTION_FULL;

	/* An action the kernel does not know is a kill; we ask for a known. */
	if (action != (range.high & UAPI_SECCOMP_RET_ACTION_FULL))
		return 0;
	switch (actions) {
	case BPF_NO_NOTIFICATION:
		return action != UAPI_SECCOMP_RET_USER_NOTIF;
	case BPF_TRACED_REFUSALS:
		if (action == UAPI_SECCOMP_RET_TRACE)
			return 1;
		/* fall through */
	case BPF_REFUSALS:
		return action == UAPI_SECCOMP_RET_KILL_PROCESS ||
		       action == UAPI_SECCOMP_RET_KILL_THREAD ||
		       action == UAPI_SECCOMP_RET_TRAP ||
		       action == UAPI_SECCOMP_RET_ERRNO ||
		       action == UAPI_SECCOMP_RET_USER_NOTIF;
	}
	return 0;
}

/* The registers after IN, which is neither a jump nor a return. */
static void step_state(struct instruction in, struct bpf_state *now,
		       struct bpf_range nr, struct bpf_range arch)
{
	struct bpf_range k = { in.k, in.k };
	struct bpf_range length = { DATA_SIZE, DATA_SIZE };

	switch (in.code & CLASS) {
	case LD:
		now->a = in.code == (LD | IMM) ? k :
			 in.code == (LD | LEN) ? length :
			 in.code == (LD | MEM) ? ANY :
			 in.k == offsetof(struct uapi_seccomp_data, nr) ? nr :
			 in.k == offsetof(struct uapi_seccomp_data, arch) ?
			 arch : ANY;
		break;
	case LDX:
		now->x = in.code == (LDX | IMM) ? k :
			 in.code == (LDX | LEN) ? length : ANY;
		break;
	case ALU:
		now->a = compute_range(in.code & OPERATION, now->a,
				       in.code & X ? now->x : k);
		break;
	case MISC:
		if (in.code == (MISC | TAX))
			now->x = now->a;
		else
			now->a = now->x;
		break;
	}
}

size_t bpf_prove(const uint8_t *filter, size_t count, struct bpf_range nr,
		 struct bpf_range arch, enum bpf_actions actions,
		 struct bpf_state *states)
{
	size_t places[2];
	size_t last = 0; /* the farthest instruction known to be reached */

	memset(states, 0, count * sizeof(states[0]));
	states[0].reached = 1; /* both registers start as 0 */
	for (size_t at = 0; at <= last; at++) {
		struct instruction in = fetch(filter, at);
		struct bpf_state now = states[at];
		struct bpf_range k = { in.k, in.k };
		int ways = MAY_HOLD;
		int branches;

		if (!now.reached)
			continue;
		if ((in.code & CLASS) == RET) {
			if (!stays_within(in.code == (RET | A) ? now.a : k,
					  actions))
				return at;
			continue;
		}
		branches = successors(in, at, places);
		if (branches == 2)
			ways = compare_ranges(in.code & OPERATION, now.a,
					      in.code & X ? now.x : k);
		else
			step_state(in, &now, nr, arch);
		for (int i = 0; i < branches; i++) {
			if (!(ways & (i == 0 ? MAY_HOLD : MAY_FAIL)))
				continue;
			flow_to(&states[places[i]], &now);
			if (places[i] > last)
				last = places[i];
		}
	}
	return count;
}
