/*
 * Leaves a daemon with a session of its own behind, which prints its number,
 * sleeps as long as the first argument says in milliseconds, asks for getppid
 * and ends; ends itself with status 4 at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long milliseconds = argc > 1 ? atol(argv[1]) : 0;
	struct timespec time = { milliseconds / 1000,
				 milliseconds % 1000 * 1000000 };

	if (fork() != 0)
		_exit(4);
	if (setsid() < 0 || fork() != 0)
		_exit(0);
	printf("%d\n", (int)getpid());
	fflush(stdout);
	nanosleep(&time, NULL);
	syscall(SYS_getppid);
	return 0;
}
