/* Takes an open file of the launcher, such as the listener. */
#include "hostile.h"

int main(void)
{
	int launcher = (int)syscall(SYS_pidfd_open, getppid(), 0);

	return verdict(syscall(SYS_pidfd_getfd, launcher, 3, 0));
}
