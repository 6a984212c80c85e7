/* Executes itself, to be held no more. */
#include "hostile.h"

int main(void)
{
	char *argv[] = { "self", NULL };

	return verdict(syscall(SYS_execve, "/proc/self/exe", argv, argv + 1));
}
