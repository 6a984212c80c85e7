/* A number with something in its high half. */
#include "hostile.h"

int main(void)
{
	long got;

	__asm__ volatile("syscall" : "=a"(got) : "a"(0x100000000L | SYS_getpgrp) : "rcx", "r11", "memory");
	return verdict(got < 0 ? -1 : got);
}
