/* The same by an absolute path that a flag allows to be empty. */
#include "hostile.h"

int main(void)
{
	char *argv[] = { "true", NULL };

	return verdict(syscall(SYS_execveat, -1, "/bin/true", argv, argv + 1, AT_EMPTY_PATH));
}
