/* Joins the namespace of another process. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_setns, open("/proc/1/ns/mnt", O_RDONLY), 0));
}
