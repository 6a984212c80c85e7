/*
 * The length of one instruction in 64-bit mode, and the little that following
 * control flow needs to know of it.  Valid is what Intel processors accept,
 * including VEX, EVEX, XOP and 3DNow!, without APX.
 */
#ifndef SHIM_X86_DECODE_H
#define SHIM_X86_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "x86_tables.h"

/* SDM volume 2, section 2.3.11 "AVX Instruction Length". */
#define X86_MAX_LENGTH 15

/* Where the memory operand is: nowhere, at a displacement from the end of the
 * instruction, at a displacement alone, or from registers. */
enum x86_address {
	X86_NO_ADDRESS,
	X86_RELATIVE,
	X86_ABSOLUTE,
	X86_BASED
};

struct x86_instruction {
	const struct x86_shape *shape;
	uint64_t displacement; /* sign-extended */
	uint8_t length;
	uint8_t address;
	uint8_t wide;	 /* the displacement has more than one byte */
	uint8_t narrow;	 /* addresses have 32 bits */
	uint8_t segment; /* a segment prefix is there */
};

/*
 * Decode the instruction at BYTES, which ends before BYTES + SIZE.  If none
 * does, the control of its shape is X86_INVALID and the rest means nothing.
 */
void x86_decode(const uint8_t *bytes, size_t size,
		struct x86_instruction *instruction);

/*
 * Write to OFFSETS, which has room for UNTIL of them, where instructions begin
 * that follow one another from BYTES on, before BYTES + UNTIL; behind a byte
 * that begins none, at the next.  The last may end behind that, but before
 * BYTES + SIZE.  Returns how many there are.
 */
size_t x86_starts(const uint8_t *bytes, size_t size, size_t until,
		  uint32_t *offsets);

/* The address that its memory operand names, if it is not X86_NO_ADDRESS and
 * not changed by registers, where the instruction ends at END. */
uint64_t x86_named_address(const struct x86_instruction *instruction,
			   uint64_t end);

/* The last bytes of a decoded instruction at BYTES as a number: the immediate,
 * sign-extended if SIGNED. */
uint64_t x86_immediate(const uint8_t *bytes,
		       const struct x86_instruction *instruction,
		       int is_signed);

#endif
