/* Many threads make refused calls at once, until their answers are overdue. */
#include "hostile.h"
#include <pthread.h>
static volatile long bad;

static void *call(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 200; i++)
		if (syscall(SYS_getppid) != -1 || errno != EPERM)
			bad++;
	return NULL;
}

int main(void)
{
	pthread_t threads[64];

	for (int i = 0; i < 64; i++)
		pthread_create(&threads[i], NULL, call, NULL);
	for (int i = 0; i < 64; i++)
		pthread_join(threads[i], NULL);
	return verdict(bad == 0 ? -1 : 0);
}
