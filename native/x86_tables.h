/*
 * What x86_decode.c knows of opcodes.  The tables themselves, x86_tables.c, are
 * generated: `python -m shim.analysis.generate` asks a full disassembler about
 * every encoding.  One line per opcode there, with the mnemonics, to be held
 * against Intel SDM volume 2, appendix A "Opcode Map", and AMD APM volume 3,
 * appendix A "Opcode and Operand Encodings".
 *
 * From an encoding to its shape:
 *
 *   x86_opcodes[space][opcode]   where its states are
 *   x86_states[that + state]     a row, or with X86_NO_MODRM a shape
 *   x86_rows[row][0..7]          by ModRM.reg, with a memory operand (mod 0..2)
 *   x86_rows[row][8..15]         by ModRM.reg, with a register (mod 3)
 *   x86_by_rm[n][rm]             where those are X86_BY_RM + n: by ModRM.rm
 *   x86_shapes[shape]            number 0 is that of what is no instruction
 */
#ifndef SHIM_X86_TABLES_H
#define SHIM_X86_TABLES_H

#include <stdint.h>

/* Opcode maps.  A state is what selects between the instructions of an opcode:
 * LEGACY  66 present, REX.W << 1, then F3 or F2, the last, 1 or 2 << 2;
 * VEX, XOP  pp, L << 2, W << 3;
 * EVEX  pp, L'L << 2, W << 4, b << 5. */
enum x86_space {
	X86_LEGACY,
	X86_LEGACY_0F,
	X86_LEGACY_0F38,
	X86_LEGACY_0F3A,
	X86_VEX_0F,
	X86_VEX_0F38,
	X86_VEX_0F3A,
	X86_XOP_8,
	X86_XOP_9,
	X86_XOP_10,
	X86_EVEX_0F,
	X86_EVEX_0F38,
	X86_EVEX_0F3A,
	X86_EVEX_5,
	X86_EVEX_6,
	X86_SPACES
};

/* How control goes on behind an instruction.  The first ten are also how runs
 * end: shim.analysis.decode.Ending has the same numbers. */
enum x86_control {
	X86_NEXT,
	X86_FALL,
	X86_JUMP,
	X86_BRANCH,
	X86_CALL,
	X86_CALL_INDIRECT,
	X86_JUMP_INDIRECT,
	X86_RETURN,
	X86_STOP,
	X86_INVALID,
	X86_SYSCALL,
	X86_SYSENTER,
	X86_INTERRUPT,
	X86_BREAKPOINT,
	X86_TRANSACTION /* XBEGIN: may go to its target later */
};

/* What is done with a memory operand: shim.analysis.decode.Use, and nothing. */
enum x86_use { X86_NO_USE, X86_ADDRESS, X86_READ, X86_WRITE, X86_INDEXED };

/* What the immediate may be: a number as wide as an address, extended to 64
 * bits; or the address of a memory operand, 4 bytes long under 67 (MOV A0..A3).
 */
enum x86_literal { X86_NO_LITERAL, X86_UNSIGNED, X86_SIGNED, X86_OFFSET };

/* What makes an encoding invalid where an instruction has it among its rules,
 * and after X86_RULES_ENCODED what else is special about one. */
enum x86_rule {
	X86_LOCK = 1 << 0,
	X86_R = 1 << 1,  /* of REX, VEX, EVEX; these and V not inverted */
	X86_X = 1 << 2,
	X86_B = 1 << 3,
	X86_R2 = 1 << 4, /* EVEX.R' */
	X86_V = 1 << 5,  /* vvvv is not 0 */
	X86_V3 = 1 << 6, /* its high bit is set */
	X86_V4 = 1 << 7, /* EVEX.V' */
	X86_K = 1 << 8,  /* EVEX.aaa is not 0 */
	X86_NO_K = 1 << 9,
	X86_Z = 1 << 10, /* EVEX.z */
	X86_Z_ALONE = 1 << 11, /* EVEX.z, and aaa is 0 */
	X86_PLAIN = 1 << 12,   /* a memory operand without a SIB byte */
	X86_RIP = 1 << 13,     /* one relative to the instruction */

	X86_ADDRESS_32 = 1 << 14, /* the prefix 67 */
	X86_ADDRESS_64 = 1 << 15, /* no such prefix */

	X86_RULES_ENCODED = (1 << 16) - 1,
	X86_DISTINCT = 1 << 16, /* no register may be named twice */
	X86_DISTINCT_DESTINATION = 1 << 17, /* the first not once more */
	X86_REGISTER = 1 << 18, /* mod is ignored: always a register */
	X86_VSIB = 1 << 19,	/* the index is a vector register */
	X86_SUFFIX = 1 << 20	/* 3DNow!: the immediate is the opcode */
};

struct x86_shape {
	uint8_t immediate; /* bytes behind ModRM, SIB and displacement */
	uint8_t control;
	uint8_t use;
	uint8_t literal;
	uint16_t size; /* bytes of a scalar memory operand */
	uint32_t rules;
};

#define X86_NO_MODRM 0x8000U
#define X86_BY_RM 0x8000U

extern const uint16_t x86_opcodes[X86_SPACES][256];
extern const uint16_t x86_states[];
extern const uint16_t x86_rows[][16];
extern const uint16_t x86_by_rm[][8];
extern const struct x86_shape x86_shapes[];
extern const uint8_t x86_3dnow[256]; /* 1 for each suffix that exists */

#endif
