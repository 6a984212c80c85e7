/* The same relative to a directory. */
#include "hostile.h"

int main(void)
{
	char *argv[] = { "true", NULL };

	return verdict(syscall(SYS_execveat, open("/bin", O_RDONLY), "true", argv, argv + 1, 0));
}
