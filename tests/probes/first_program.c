/*
 * The program of a machine that has no other.  It ends as its first argument says: "refused" makes the call whose
 * number follows, which no analysis can tell; "signal" aborts; anything else says what it was given, and returns 7.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORPHANS = 20 };

static void report_given(char **arguments, char **environment)
{
	for (int i = 1; arguments[i] != NULL; i++)
		printf("argument %s\n", arguments[i]);
	for (int i = 0; environment[i] != NULL; i++)
		printf("variable %s\n", environment[i]);
	for (int fd = 0; fd < 16; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("open %d\n", fd);
}

static void report_mounts(void)
{
	char kind[64], place[64], options[256], line[512];
	FILE *mounts = fopen("/proc/self/mounts", "r");

	while (mounts != NULL && fgets(line, sizeof(line), mounts) != NULL)
		if (sscanf(line, "%*s %63s %63s %255s", place, kind, options) == 3)
			printf("mounted %s %s %s\n", kind, place, options);
}

/* Each is left by its parent, which it outlives or not. */
static void report_orphans(void)
{
	pid_t orphans[ORPHANS];
	int ends[2], left = ORPHANS;

	if (pipe(ends) != 0)
		return;
	for (int i = 0; i < ORPHANS; i++) {
		pid_t child = fork();

		if (child == 0) {
			pid_t orphan = fork();

			if (orphan == 0) {
				usleep(i % 2 * 20000);
				_exit(0);
			}
			_exit(write(ends[1], &orphan, sizeof(orphan)) < 0);
		}
		waitpid(child, NULL, 0);
		if (read(ends[0], &orphans[i], sizeof(pid_t)) != sizeof(pid_t))
			return;
	}
	for (int tries = 0; left > 0 && tries < 200; tries++) {
		usleep(20000);
		left = 0;
		for (int i = 0; i < ORPHANS; i++)
			left += kill(orphans[i], 0) == 0 || errno != ESRCH;
	}
	printf("orphans left %d\n", left);
}

static void report_loopback(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	socklen_t size = sizeof(here);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	int client = socket(AF_INET, SOCK_STREAM, 0);

	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(server, (void *)&here, size) == 0 && listen(server, 1) == 0 &&
	    getsockname(server, (void *)&here, &size) == 0 &&
	    connect(client, (void *)&here, size) == 0)
		printf("loopback served\n");
}

int main(int count, char **arguments, char **environment)
{
	const char *end = count > 1 ? arguments[1] : "";

	printf("program begins\n");
	fflush(stdout);
	if (strcmp(end, "refused") == 0)
		syscall(atol(arguments[2]), 0xfee1deadL, 672274793L, 0L, 0L);
	if (strcmp(end, "signal") == 0)
		abort();
	report_given(arguments, environment);
	report_mounts();
	report_orphans();
	report_loopback();
	printf("program ends\n");
	return 7;
}
