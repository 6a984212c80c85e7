/* The calls of 32-bit programs. */
#include "hostile.h"

int main(void)
{
	long got;

	__asm__ volatile("int $0x80" : "=a"(got) : "a"(64 /* getppid */) : "memory");
	return verdict(got < 0 ? -1 : got);
}
