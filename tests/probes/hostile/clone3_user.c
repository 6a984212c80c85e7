/* The same by clone3, whose flags no filter can read. */
#include "hostile.h"

int main(void)
{
	uint64_t arguments[8] = { CLONE_NEWUSER, 0, 0, 0, SIGCHLD };

	return verdict(syscall(SYS_clone3, arguments, sizeof(arguments)));
}
