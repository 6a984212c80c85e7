/* Executes another program from a child that borrows its memory. */
#include "hostile.h"

int main(void)
{
	char *argv[] = { "true", NULL };
	pid_t child = vfork();

	if (child == 0) {
		syscall(SYS_execve, "/bin/true", argv, argv + 1);
		_exit(0);
	}
	return verdict(-1);
}
