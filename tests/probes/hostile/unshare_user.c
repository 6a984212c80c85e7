/* A user namespace, in which it has every capability. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_unshare, CLONE_NEWUSER));
}
