/*
 * Are all registers as execve leaves them, zero but for the stack pointer, and
 * is the page below the stack pointer zero?  Status 0 if so; no libc.
 */
#ifdef __x86_64__
__asm__(".globl _start\n"
	"_start:\n"
	"	or %rax, %rbx\n"
	"	or %rcx, %rbx\n"
	"	or %rdx, %rbx\n"
	"	or %rsi, %rbx\n"
	"	or %rdi, %rbx\n"
	"	or %rbp, %rbx\n"
	"	or %r8, %rbx\n"
	"	or %r9, %rbx\n"
	"	or %r10, %rbx\n"
	"	or %r11, %rbx\n"
	"	or %r12, %rbx\n"
	"	or %r13, %rbx\n"
	"	or %r14, %rbx\n"
	"	or %r15, %rbx\n"
	"	mov $8192, %ecx\n"
	"1:	mov %rsp, %rax\n"
	"	sub %rcx, %rax\n"
	"	or (%rax), %rbx\n"
	"	sub $8, %ecx\n"
	"	jnz 1b\n"
	"	xor %edi, %edi\n"
	"	test %rbx, %rbx\n"
	"	setnz %dil\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	".section .note.GNU-stack,\"\",@progbits\n");
#endif
