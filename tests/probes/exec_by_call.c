/*
 * Tries to become itself with the argument "executed", which it then prints:
 * by execve, by execveat with a path, or by execveat on an open file.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char executed[] = "executed";
	char *arguments[] = { argv[0], executed, NULL };
	char *environment[] = { NULL };
	const char *how = argc > 1 ? argv[1] : "";

	if (strcmp(how, executed) == 0)
		return write(1, "executed\n", 9) != 9;
	if (strcmp(how, "execve") == 0)
		syscall(SYS_execve, argv[0], arguments, environment);
	if (strcmp(how, "execveat") == 0)
		syscall(SYS_execveat, AT_FDCWD, argv[0], arguments, environment,
			0);
	if (strcmp(how, "fexecve") == 0)
		syscall(SYS_execveat, open(argv[0], O_RDONLY), "", arguments,
			environment, AT_EMPTY_PATH);
	return 98;
}
