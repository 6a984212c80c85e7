/* Its child prints its number, waits for standard input to end, and outlives it. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	char byte;
	pid_t child = fork();

	if (child == 0) {
		while (read(0, &byte, 1) > 0)
			continue;
		_exit(0);
	}
	printf("%d\n", (int)child);
	return 3;
}
