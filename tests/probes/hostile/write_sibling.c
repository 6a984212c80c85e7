/* Writes into the memory of another process of its user. */
#include "hostile.h"
#include <sys/uio.h>
int main(void)
{
	long word = 0;
	struct iovec here = { &word, 8 }, there = { &word, 8 };
	pid_t child = fork();

	if (child == 0) {
		sleep(1);
		_exit(0);
	}
	return verdict(syscall(SYS_process_vm_writev, child, &here, 1, &there, 1, 0));
}
