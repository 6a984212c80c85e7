/* Writes into the memory of the launcher. */
#include "hostile.h"
#include <sys/uio.h>
int main(void)
{
	long word = 0;
	struct iovec here = { &word, 8 }, there = { (void *)0x400000, 8 };

	return verdict(syscall(SYS_process_vm_writev, getppid(), &here, 1, &there, 1, 0));
}
