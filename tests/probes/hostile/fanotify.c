/* Watches every file of a file system. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_fanotify_init, 0, 0));
}
