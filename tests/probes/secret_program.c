/* Says what a program of a machine finds: its secret, its environment, its files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int secret_file(const char *path)
{
	return path[0] == '/' ? open(path, O_RDONLY) : atoi(path);
}

static void say_secret(const char *path)
{
	char bytes[4096];
	int fd = secret_file(path);
	long size = read(fd, bytes, sizeof(bytes));

	printf("secret ");
	fwrite(bytes, 1, size < 0 ? 0 : (size_t)size, stdout);
	printf("\n");
	for (char **entry = environ; *entry != NULL; entry++)
		printf("environment %s\n", *entry);
	printf("seals %d\n", fcntl(fd, F_GET_SEALS));
	printf("open");
	for (int i = 0; i < 64; i++)
		if (fcntl(i, F_GETFD) >= 0)
			printf(" %d", i);
	printf("\n");
}

int main(int argc, char **argv)
{
	const char *given = getenv("SECRET_FD");

	if (argc > 1 && strcmp(argv[1], "refused") == 0) {
		printf("before\n");
		fflush(stdout);
		syscall(169); /* reboot */
	}
	say_secret(argc > 1 ? argv[1] : given != NULL ? given : "-1");
	fflush(stdout);
	fprintf(stderr, "to standard error\n");
	return 7;
}
