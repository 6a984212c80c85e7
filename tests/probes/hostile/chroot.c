/* Changes what its root is. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_chroot, "/tmp"));
}
