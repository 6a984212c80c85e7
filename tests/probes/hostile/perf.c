/* Watches the kernel and other processes. */
#include "hostile.h"

int main(void)
{
	uint32_t room[32] = { 1, 128 };

	return verdict(syscall(SYS_perf_event_open, room, 0, -1, -1, 0));
}
