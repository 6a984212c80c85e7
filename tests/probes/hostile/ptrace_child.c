/* Traces a child, whose calls it could let through. */
#include "hostile.h"

int main(void)
{
	pid_t child = fork();

	if (child == 0) {
		sleep(1);
		_exit(0);
	}
	return verdict(syscall(SYS_ptrace, 16 /* attach */, child, 0, 0));
}
