/* Computes for as many milliseconds as its argument says, and says how many of them it had a CPU. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long milliseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	long end = milliseconds(CLOCK_MONOTONIC) + atoi(argc > 1 ? argv[1] : "1");

	while (milliseconds(CLOCK_MONOTONIC) < end)
		continue;
	printf("computed %ld\n", milliseconds(CLOCK_PROCESS_CPUTIME_ID));
	return 0;
}
