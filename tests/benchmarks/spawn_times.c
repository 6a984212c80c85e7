/*
 * How long does it take to start a program and see it end?
 * spawn_times fork|vfork COUNT PROGRAM [ARGUMENT...]: one line of nanoseconds
 * per run; the program's output goes to /dev/null.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int out = dup(1);
	int by_vfork = argc > 3 && strcmp(argv[1], "vfork") == 0;
	long count = argc > 3 ? atol(argv[2]) : 0;

	if (count <= 0 || out < 0 || dup2(open("/dev/null", O_WRONLY), 1) < 0)
		return 2;
	fcntl(out, F_SETFD, FD_CLOEXEC);
	for (long i = 0; i < count; i++) {
		long long start = now();
		int status;
		pid_t pid = by_vfork ? vfork() : fork();

		if (pid == 0) {
			execv(argv[3], argv + 3);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			return 1;
		dprintf(out, "%lld\n", now() - start);
	}
	return 0;
}
