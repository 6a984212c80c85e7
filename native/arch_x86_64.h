/*
 * What is true of x86-64 alone: registers, numbers, instructions.  Everything
 * else in this folder knows no architecture.
 */
#ifndef SHIM_ARCH_X86_64_H
#define SHIM_ARCH_X86_64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "faults.h"

#define ARCH_PLAN 1		/* struct plan header, field arch */
#define ARCH_AUDIT 0xc000003eU	/* AUDIT_ARCH_X86_64, linux/audit.h v6.18 */

/* Bytes below the stack pointer that a function may use without moving it
 * (System V ABI, AMD64 supplement, section 3.2.2, "The Stack Frame"). */
#define ARCH_RED_ZONE 128

#define ARCH_SYSCALL_SIZE 2
/* Returns the first syscall instruction that lies in CODE whole, or null. */
static inline const uint8_t *arch_find_syscall(const uint8_t *code, size_t size)
{
	const uint8_t *end = code + size;

	/* 0f 05.  By the 05: every longer instruction starts with 0f. */
	while ((code = memchr(code + 1, 0x05, (size_t)(end - code - 1))) != NULL)
		if (code[-1] == 0x0f)
			return code - 1;
	return NULL;
}

/*
 * Every number by which this kernel executes a file: execve and execveat, and
 * the same two of the x32 ABI, which share AUDIT_ARCH_X86_64
 * (arch/x86/entry/syscalls/syscall_64.tbl, v6.18).
 */
#define ARCH_EXEC_NUMBERS { 59, 322, 0x40000000U | 520, 0x40000000U | 545 }

/* What makes sockets: socket, and that of the x32 ABI, and io_uring_setup, whose
 * rings have IORING_OP_SOCKET. */
#define ARCH_SOCKET_NUMBERS { 41, 0x40000000U | 41, 425 }

/* ptrace, and that of the x32 ABI. */
#define ARCH_TRACE_NUMBERS { 101, 0x40000000U | 521 }

/* struct user_regs_struct, arch/x86/include/asm/user_64.h v6.18 */
struct arch_registers {
	uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	uint64_t ax, cx, dx, si, di, orig_ax;
	uint64_t ip, cs, flags, sp, ss;
	uint64_t fs_base, gs_base, ds, es, fs, gs;
};
_Static_assert(sizeof(struct arch_registers) == 27 * 8, "user_regs_struct");
_Static_assert(offsetof(struct arch_registers, ip) == 16 * 8, "rip");

/* How much of them a call uses and changes: those up to ip.  The kernel goes
 * through registers one by one, and the segments are slow. */
#define ARCH_CALL_REGISTERS offsetof(struct arch_registers, cs)

static inline long arch_syscall(long nr, long a, long b, long c, long d,
				long e, long f)
{
	long result = fault_call(nr);
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	if (result != 0)
		return result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/*
 * clone3 whose child calls ENTRY on the stack that the arguments name.  It
 * cannot be a C function's return: the child's stack is empty.
 */
static inline long arch_spawn(void *clone_args, size_t size,
			      void (*entry)(void *), void *argument)
{
	enum { CLONE3 = 435, NO_CALL = -1 };
	long result = fault_call(CLONE3) != 0 ? NO_CALL : CLONE3;
	register void (*r8)(void *) __asm__("r8") = entry;
	register void *r9 __asm__("r9") = argument;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r9, %%rdi\n\t"
			 "call *%%r8\n\t"
			 "hlt\n"
			 "1:"
			 : "+a"(result)
			 : "D"(clone_args), "S"(size), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* Turn REGISTERS into those of a call about to be made at INSTRUCTION. */
static inline void arch_stage_call(struct arch_registers *registers,
				   uint64_t instruction, uint64_t nr,
				   const uint64_t arguments[6])
{
	registers->ip = instruction;
	registers->ax = nr;
	registers->orig_ax = UINT64_MAX;	/* in no call: nothing to restart */
	registers->di = arguments[0];
	registers->si = arguments[1];
	registers->dx = arguments[2];
	registers->r10 = arguments[3];
	registers->r8 = arguments[4];
	registers->r9 = arguments[5];
}

/* The call that REGISTERS are about to make is not made: it returns RESULT. */
static inline void arch_skip_call(struct arch_registers *registers,
				  int64_t result)
{
	registers->orig_ax = UINT64_MAX;
	registers->ax = (uint64_t)result;
}

/*
 * A hardware breakpoint where an instruction is about to be executed, in struct
 * user: the address is debug register 0, and bit 0 of register 7 enables it for
 * the thread (Intel SDM, volume 3, section 18.2; sys/user.h, u_debugreg).
 */
#define ARCH_USER_BREAKPOINT 848
#define ARCH_USER_BREAKPOINT_CONTROL (848 + 7 * 8)
#define ARCH_BREAKPOINT_ON 1

static inline int64_t arch_call_result(const struct arch_registers *registers)
{
	return (int64_t)registers->ax;
}

/* Does the processor say that it has RDRAND?  (Intel SDM, volume 2, CPUID leaf 1) */
static inline int arch_has_random(void)
{
	uint32_t a = 1;
	uint32_t b;
	uint32_t c = 0;
	uint32_t d;

	__asm__ volatile ("cpuid" : "+a" (a), "=b" (b), "+c" (c), "=d" (d));
	return (c >> 30 & 1) != 0;
}

/* Pre: arch_has_random.  Returns 1 with WORD filled, or 0 after ten attempts, as
 * Intel's guide for software on random numbers, revision 2.1, section 5.2.1, has
 * it. */
static inline int arch_random(uint64_t *word)
{
	uint8_t got = 0;

	for (int i = 0; i < 10 && !got; i++)
		__asm__ volatile ("rdrand %0; setc %1"
				  : "=r" (*word), "=qm" (got) : : "cc");
	return got;
}

#endif
