/*
 * For half a second a timer's handler runs a thousand times a second, without
 * SA_RESTART, while calls are made that never return EINTR.  Prints how often
 * it ran; status 0 if every call but those did what it should.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;

static void count(int signal)
{
	(void)signal;
	handled++;
}

int main(void)
{
	struct sigaction action = { .sa_handler = count };
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct timespec now;
	struct timespec start;
	long parent = getppid();
	long wrong = 0;

	sigaction(SIGALRM, &action, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	setitimer(ITIMER_REAL, &often, NULL);
	do {
		long got = syscall(SYS_getppid);

		wrong += got != parent && got != -1;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec -
		 start.tv_nsec < 500000000LL);
	while (setitimer(ITIMER_REAL, &never, NULL) != 0)
		continue;
	printf("%d\n", (int)handled);
	return wrong != 0;
}
