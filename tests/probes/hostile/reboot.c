/* Stops the machine. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_reboot, 0, 0, 0, 0));
}
