/*
 * A thread that does not lead its process makes it the program of the first
 * argument; with the argument "executed" asks for getppid and ends with 3.
 */
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char **arguments;

static void *become(void *nothing)
{
	char *environment[] = { NULL };

	execve(arguments[1], arguments + 1, environment);
	return nothing;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	arguments = argv;
	if (argc > 1 && strcmp(argv[1], "executed") == 0) {
		for (int i = 0; i < 50; i++)
			syscall(SYS_getppid);
		return 3;
	}
	if (pthread_create(&thread, NULL, become, NULL) != 0)
		return 98;
	for (;;)
		syscall(SYS_getuid); /* so that the leader is looked at meanwhile */
}
