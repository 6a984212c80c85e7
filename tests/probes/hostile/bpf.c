/* Loads a program into the kernel. */
#include "hostile.h"

int main(void)
{
	char room[128] = { 0 };

	return verdict(syscall(SYS_bpf, 0, room, sizeof(room)));
}
