/* Stops other threads inside the kernel, for races. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_userfaultfd, 0));
}
