/*
 * Sleeps half a second in one call; a stop meanwhile makes the kernel go on by
 * restart_syscall.  Status 0 if it slept at least that long.
 */
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timespec start;
	struct timespec end;
	struct timespec half = { 0, 500000000 };
	long long slept;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (write(1, "ready\n", 6) != 6 || nanosleep(&half, NULL) != 0)
		return 98;
	clock_gettime(CLOCK_MONOTONIC, &end);
	slept = (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec -
		start.tv_nsec;
	return slept < 500000000LL;
}
