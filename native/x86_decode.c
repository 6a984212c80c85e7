/*
 * Prefixes, opcode, ModRM, SIB, displacement, immediate: in the order in which
 * they stand in memory (SDM volume 2, section 2.1 "Instruction Format for
 * Protected Mode, Real-Address Mode, and Virtual-8086 Mode").  Which opcodes
 * exist and what they forbid is in x86_tables.h.
 */
#include "x86_decode.h"

#include <string.h>

/* Bytes of one instruction that were not read yet; behind the last are zeros,
 * and `ended` then says that one was wanted. */
struct reader {
	const uint8_t *bytes;
	size_t size;
	size_t at;
	int ended;
};

/* What prefixes and the parts of an opcode select, and what ModRM adds. */
struct encoding {
	unsigned space;
	unsigned state;
	unsigned opcode;
	uint32_t found;	 /* of enum x86_rule */
	unsigned vector; /* vvvv, and V' above it */
	unsigned reg;
	unsigned rm;
	unsigned index;
};

static unsigned take(struct reader *reader)
{
	if (reader->at == reader->size) {
		reader->ended = 1;
		return 0;
	}
	return reader->bytes[reader->at++];
}

static unsigned peek(const struct reader *reader)
{
	return reader->at < reader->size ? reader->bytes[reader->at] : 0;
}

/* COUNT bytes, 8 at most, little-endian, the last one sign-extended. */
static uint64_t load_signed(const uint8_t *bytes, size_t count)
{
	uint64_t value = 0;

	for (size_t i = count; i > 0; i--)
		value = value << 8 | bytes[i - 1];
	if (count > 0 && count < 8 && bytes[count - 1] & 0x80)
		value |= ~(uint64_t)0 << 8 * count;
	return value;
}

static uint64_t take_signed(struct reader *reader, size_t count)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)take(reader);
	return load_signed(bytes, count);
}

static void take_rex(struct encoding *encoding, unsigned rex)
{
	encoding->found |= (rex & 4 ? X86_R : 0U) | (rex & 2 ? X86_X : 0U) |
			   (rex & 1 ? X86_B : 0U);
	encoding->state |= rex >> 2 & 2;
}

/*
 * Take legacy prefixes, in any order and number, and REX, which counts only as
 * the last of them (SDM volume 2, section 2.2.1).  Return the byte behind, and
 * in PLAIN whether VEX, XOP or EVEX may follow.
 */
static unsigned take_prefixes(struct reader *reader, struct encoding *encoding,
			      struct x86_instruction *instruction, int *plain)
{
	unsigned rex = 0;
	unsigned repeat = 0;

	for (;;) {
		unsigned byte = take(reader);

		if ((byte & 0xf0) == 0x40) {
			rex = byte;
			continue;
		}
		switch (byte) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
			instruction->segment = 1;
			break;
		case 0x66:
			encoding->state |= 1;
			break;
		case 0x67:
			instruction->narrow = 1;
			break;
		case 0xf0:
			encoding->found |= X86_LOCK;
			break;
		case 0xf2:
			repeat = 2;
			break;
		case 0xf3:
			repeat = 1;
			break;
		default:
			take_rex(encoding, rex);
			encoding->state |= repeat << 2;
			*plain = encoding->state == 0 && rex == 0 &&
				 encoding->found == 0;
			encoding->found |= instruction->narrow ?
						   X86_ADDRESS_32 :
						   X86_ADDRESS_64;
			return byte;
		}
		rex = 0;
	}
}

static void take_vvvv(struct encoding *encoding, unsigned inverted)
{
	encoding->vector = ~inverted & 15;
	encoding->found |= (encoding->vector ? X86_V : 0U) |
			   (encoding->vector & 8 ? X86_V3 : 0U);
}

/* SDM volume 2, section 2.3.5 "The VEX Prefix", after C5. */
static void take_vex2(struct reader *reader, struct encoding *encoding)
{
	unsigned byte = take(reader);

	encoding->space = X86_VEX_0F;
	encoding->state = byte & 7;
	encoding->found |= byte & 0x80 ? 0 : X86_R;
	take_vvvv(encoding, byte >> 3);
	encoding->opcode = take(reader);
}

/* After C4, or after 8F for XOP, which differs in its maps: APM volume 3,
 * section 1.2.7 "VEX and XOP Prefixes".  Return whether the map exists. */
static int take_vex3(struct reader *reader, struct encoding *encoding)
{
	static const uint8_t spaces[32] = {
		[1] = X86_VEX_0F, [2] = X86_VEX_0F38, [3] = X86_VEX_0F3A,
		[8] = X86_XOP_8,  [9] = X86_XOP_9,    [10] = X86_XOP_10,
	};
	int is_xop = reader->bytes[reader->at - 1] == 0x8f;
	unsigned first = take(reader);
	unsigned second = take(reader);

	encoding->space = spaces[first & 31];
	encoding->state = (second & 7) | (second >> 4 & 8);
	take_rex(encoding, ~first >> 5 & 7);
	take_vvvv(encoding, second >> 3);
	encoding->opcode = take(reader);
	return encoding->space != X86_LEGACY && is_xop == ((first & 31) >= 8);
}

/* SDM volume 2, section 2.7.1 "Instruction Format and EVEX", after 62.  Return
 * whether the map exists and the fixed bits are as they must be. */
static int take_evex(struct reader *reader, struct encoding *encoding)
{
	static const uint8_t spaces[8] = {
		[1] = X86_EVEX_0F, [2] = X86_EVEX_0F38, [3] = X86_EVEX_0F3A,
		[5] = X86_EVEX_5,  [6] = X86_EVEX_6,
	};
	unsigned first = take(reader);
	unsigned second = take(reader);
	unsigned third = take(reader);

	encoding->space = spaces[first & 7];
	take_rex(encoding, ~first >> 5 & 7);
	take_vvvv(encoding, second >> 3);
	encoding->state = (second & 3) | (third >> 3 & 12) |
			  (second >> 3 & 16) | (third << 1 & 32);
	if (!(first & 0x10))
		encoding->found |= X86_R2;
	if (!(third & 8)) {
		encoding->found |= X86_V4;
		encoding->vector |= 16;
	}
	encoding->found |= third & 7 ? X86_K : X86_NO_K;
	if (third & 0x80)
		encoding->found |= third & 7 ? X86_Z : X86_Z | X86_Z_ALONE;
	encoding->opcode = take(reader);
	return encoding->space != X86_LEGACY && !(first & 8) && second & 4;
}

/* Take the rest of an opcode that does not begin with VEX, XOP or EVEX. */
static void take_opcode(struct reader *reader, struct encoding *encoding,
			unsigned byte)
{
	encoding->space = X86_LEGACY;
	if (byte == 0x0f) {
		encoding->space = X86_LEGACY_0F;
		byte = take(reader);
		if (byte == 0x38 || byte == 0x3a) {
			encoding->space = byte == 0x38 ? X86_LEGACY_0F38 :
							 X86_LEGACY_0F3A;
			byte = take(reader);
		}
	}
	encoding->opcode = byte;
}

/* Take everything up to ModRM; return whether such an opcode can be. */
static int take_encoding(struct reader *reader, struct encoding *encoding,
			 struct x86_instruction *instruction)
{
	int plain;
	unsigned byte = take_prefixes(reader, encoding, instruction, &plain);

	if (byte == 0xc5) {
		take_vex2(reader, encoding);
		return plain;
	}
	if (byte == 0xc4 || (byte == 0x8f && (peek(reader) & 31) >= 8))
		return !reader->ended && take_vex3(reader, encoding) && plain;
	if (byte == 0x62)
		return take_evex(reader, encoding) && plain;
	take_opcode(reader, encoding, byte);
	return 1;
}

/* SDM volume 2, tables 2-2 "32-Bit Addressing Forms with the ModR/M Byte" and
 * 2-3 "32-Bit Addressing Forms with the SIB Byte", as section 2.2.1 changes
 * them for 64-bit mode. */
static void take_memory(struct reader *reader, struct encoding *encoding,
			struct x86_instruction *instruction, unsigned mod)
{
	unsigned size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	unsigned base = encoding->rm;

	instruction->address = X86_BASED;
	if (base == 4) {
		unsigned sib = take(reader);
		unsigned extension = encoding->found & X86_X ? 8 : 0;
		int has_index;

		encoding->index = (sib >> 3 & 7) | extension |
				  (encoding->vector & 16);
		has_index = (sib >> 3 & 7) + extension != 4 ||
			    instruction->shape->rules & X86_VSIB;
		base = sib & 7;
		if (base == 5 && mod == 0) {
			size = 4;
			if (!has_index)
				instruction->address = X86_ABSOLUTE;
		}
	} else {
		encoding->found |= X86_PLAIN;
		if (base == 5 && mod == 0) {
			size = 4;
			encoding->found |= X86_RIP;
			instruction->address = X86_RELATIVE;
		}
	}
	instruction->wide = size == 4;
	instruction->displacement = take_signed(reader, size);
}

/* Whether a register is named twice that may not be; only vector and tile
 * instructions have such rules, so all numbers are of the same registers. */
static int names_twice(const struct encoding *encoding,
		       const struct x86_instruction *instruction)
{
	uint32_t found = encoding->found;
	uint32_t rules = instruction->shape->rules;
	unsigned vector = encoding->vector;
	int has_vector = !(rules & X86_V);
	unsigned first = encoding->reg | (found & X86_R ? 8 : 0) |
			 (found & X86_R2 ? 16 : 0);
	unsigned other = encoding->rm | (found & X86_B ? 8 : 0) |
			 (found & X86_X && encoding->space >= X86_EVEX_0F ? 16 :
									    0);

	if (instruction->address != X86_NO_ADDRESS)
		other = encoding->index;
	if (rules & X86_DISTINCT)
		return first == other ||
		       (has_vector && (vector == first || vector == other));
	return vector == first ||
	       (instruction->address == X86_NO_ADDRESS && first == other);
}

/* Take ModRM and the operand that it describes; set the shape. */
static void take_operands(struct reader *reader, struct encoding *encoding,
			  struct x86_instruction *instruction, unsigned row)
{
	unsigned modrm = take(reader);
	unsigned mod = modrm >> 6;
	unsigned shape;

	encoding->reg = modrm >> 3 & 7;
	encoding->rm = modrm & 7;
	shape = x86_rows[row][encoding->reg + (mod == 3 ? 8 : 0)];
	if (shape >= X86_BY_RM)
		shape = x86_by_rm[shape - X86_BY_RM][encoding->rm];
	instruction->shape = &x86_shapes[shape];
	if (mod != 3 && !(instruction->shape->rules & X86_REGISTER))
		take_memory(reader, encoding, instruction, mod);
}

/* Take the immediate, or the address that stands in its place. */
static void take_immediate(struct reader *reader,
			   struct x86_instruction *instruction)
{
	const struct x86_shape *shape = instruction->shape;
	size_t size = shape->immediate;

	if (shape->literal == X86_OFFSET) {
		size = instruction->narrow ? 4 : 8;
		instruction->address = X86_ABSOLUTE;
		instruction->wide = 1;
		instruction->displacement = take_signed(reader, size);
	} else if (size > reader->size - reader->at) {
		reader->ended = 1;
	} else {
		reader->at += size;
	}
}

static int breaks_rules(const struct reader *reader,
			const struct encoding *encoding,
			const struct x86_instruction *instruction)
{
	uint32_t rules = instruction->shape->rules;

	if (reader->ended || rules & encoding->found & X86_RULES_ENCODED)
		return 1;
	if (rules & (X86_DISTINCT | X86_DISTINCT_DESTINATION))
		return names_twice(encoding, instruction);
	if (rules & X86_SUFFIX)
		return !x86_3dnow[reader->bytes[reader->at - 1]];
	return 0;
}

void x86_decode(const uint8_t *bytes, size_t size,
		struct x86_instruction *instruction)
{
	struct reader reader = {
		bytes, size < X86_MAX_LENGTH ? size : X86_MAX_LENGTH, 0, 0
	};
	struct encoding encoding;
	unsigned row;

	memset(&encoding, 0, sizeof(encoding));
	memset(instruction, 0, sizeof(*instruction));
	instruction->shape = &x86_shapes[0];
	if (!take_encoding(&reader, &encoding, instruction))
		return;
	row = x86_states[x86_opcodes[encoding.space][encoding.opcode] +
			 encoding.state];
	if (row & X86_NO_MODRM)
		instruction->shape = &x86_shapes[row & ~X86_NO_MODRM];
	else
		take_operands(&reader, &encoding, instruction, row);
	take_immediate(&reader, instruction);
	if (breaks_rules(&reader, &encoding, instruction))
		instruction->shape = &x86_shapes[0];
	instruction->length = (uint8_t)reader.at;
}

uint64_t x86_named_address(const struct x86_instruction *instruction,
			   uint64_t end)
{
	uint64_t address = instruction->displacement;

	if (instruction->address == X86_RELATIVE)
		address += end;
	return instruction->narrow ? (uint32_t)address : address;
}

uint64_t x86_immediate(const uint8_t *bytes,
		       const struct x86_instruction *instruction, int is_signed)
{
	size_t size = instruction->shape->immediate;
	uint64_t value;

	value = load_signed(bytes + instruction->length - size, size);
	if (!is_signed && size < 8)
		value &= ((uint64_t)1 << 8 * size) - 1;
	return value;
}

size_t x86_starts(const uint8_t *bytes, size_t size, size_t until,
		  uint32_t *offsets)
{
	struct x86_instruction instruction;
	size_t count = 0;
	size_t at = 0;

	while (at < until && at < size) {
		offsets[count++] = (uint32_t)at;
		x86_decode(bytes + at, size - at, &instruction);
		at += instruction.shape->control == X86_INVALID ?
			      1 : instruction.length;
	}
	return count;
}
