/* Sets its user id to what it is while three threads wait: the C library makes
 * each of them do the same, by a signal. */
#include <pthread.h>
#include <unistd.h>

static pthread_barrier_t ready;
static int ends[2];

static void *wait_for_end(void *nothing)
{
	char byte;

	pthread_barrier_wait(&ready);
	while (read(ends[0], &byte, 1) > 0)
		continue;
	return nothing;
}

int main(void)
{
	pthread_t threads[3];

	if (pipe(ends) != 0 || pthread_barrier_init(&ready, NULL, 4) != 0)
		return 98;
	for (int i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, wait_for_end, NULL) != 0)
			return 97;
	pthread_barrier_wait(&ready);
	if (setuid(getuid()) != 0)
		return 96;
	close(ends[1]);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return write(1, "ran on\n", 7) != 7;
}
