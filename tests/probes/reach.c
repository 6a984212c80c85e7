/* Tries to reach one thing, and says how that ended: `ok`, or the errno's name. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int reach_port(int way, const char *port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = { .sin_family = AF_INET };

	address.sin_port = htons((uint16_t)atoi(port));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return (way ? bind : connect)(fd, (struct sockaddr *)&address,
				      sizeof(address));
}

static int reach_abstract(const char *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strncpy(address.sun_path + 1, name, sizeof(address.sun_path) - 2);
	return connect(fd, (struct sockaddr *)&address,
		       (socklen_t)(sizeof(sa_family_t) + 1 + strlen(name)));
}

static int list(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY);
}

static int orphan(void)
{
	if (fork() == 0) {
		if (fork() == 0)
			sleep(60);
		_exit(0);
	}
	wait(NULL);
	return 0;
}

static int orphans(void)
{
	for (int i = 0; i < 20; i++) {
		if (fork() == 0) {
			if (fork() == 0)
				usleep(1000);
			_exit(0);
		}
		wait(NULL);
	}
	puts("left");
	fflush(stdout);
	sleep(60);
	return 0;
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	const char *what = argc > 2 ? argv[2] : "";
	int got = -1;

	errno = EINVAL;
	if (strcmp(way, "read") == 0)
		got = open(what, O_RDONLY);
	else if (strcmp(way, "list") == 0)
		got = list(what);
	else if (strcmp(way, "write") == 0)
		got = open(what, O_WRONLY);
	else if (strcmp(way, "make") == 0)
		got = open(what, O_WRONLY | O_CREAT | O_EXCL, 0600);
	else if (strcmp(way, "mkdir") == 0)
		got = mkdir(what, 0700);
	else if (strcmp(way, "remove") == 0)
		got = unlink(what);
	else if (strcmp(way, "truncate") == 0)
		got = truncate(what, 0);
	else if (strcmp(way, "bind") == 0)
		got = reach_port(1, what);
	else if (strcmp(way, "connect") == 0)
		got = reach_port(0, what);
	else if (strcmp(way, "abstract") == 0)
		got = reach_abstract(what);
	else if (strcmp(way, "signal") == 0)
		got = kill((pid_t)atoi(what), 0);
	else if (strcmp(way, "signal-launcher") == 0)
		got = kill(getppid(), 0);
	else if (strcmp(way, "signal-itself") == 0)
		got = kill(getpid(), 0);
	else if (strcmp(way, "inherited") == 0)
		got = (int)write(atoi(what), "x", 1);
	else if (strcmp(way, "pid") == 0)
		printf("%d ", getpid()), got = 0;
	else if (strcmp(way, "orphan") == 0)
		got = orphan();
	else if (strcmp(way, "orphans") == 0)
		got = orphans();
	else if (strcmp(way, "ids") == 0)
		printf("%d %d %d %d %d ", getuid(), geteuid(), getgid(),
		       getegid(), getgroups(0, NULL)), got = 0;
	else if (strcmp(way, "rewrite") == 0)
		got = open("/proc/self/exe", O_WRONLY);
	else if (strcmp(way, "sleep") == 0)
		sleep(60), got = 0;
	puts(got >= 0 ? "ok" : strerrorname_np(errno));
	return 0;
}
