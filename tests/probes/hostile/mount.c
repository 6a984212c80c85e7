/* Puts a file system over another. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
}
