/* Queues a signal to the launcher. */
#include "hostile.h"

int main(void)
{
	char room[128] = { 0 };

	return verdict(syscall(SYS_rt_sigqueueinfo, getppid(), SIGKILL, room));
}
