/* Executes another program. */
#include "hostile.h"

int main(void)
{
	char *argv[] = { "true", NULL };

	return verdict(syscall(SYS_execve, "/bin/true", argv, argv + 1));
}
