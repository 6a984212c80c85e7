/* Signals the thread of the launcher. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_tgkill, getppid(), getppid(), SIGKILL));
}
