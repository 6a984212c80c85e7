/* The calls of the x32 ABI. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(0x40000000 | SYS_getppid));
}
