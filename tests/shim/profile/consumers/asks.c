/*
 * Makes calls one after the other and says what became of each, from inside whatever started it:
 * asks NUMBER... prints "NUMBER errno" for each number, with arguments that no call likes; a call that
 * kills ends the child that made it, and prints "NUMBER killed".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		long number = atol(argv[i]);
		pid_t child = fork();
		int status;

		if (child == 0) {
			errno = 0;
			syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
			_exit(errno == ENOSYS ? 38 : errno == EPERM ? 1 : 0);
		}
		if (child < 0 || waitpid(child, &status, 0) < 0) {
			perror("asks");
			return 1;
		}
		if (WIFSIGNALED(status))
			printf("%ld killed %d\n", number, WTERMSIG(status));
		else
			printf("%ld %d\n", number, WEXITSTATUS(status));
	}
	return 0;
}
