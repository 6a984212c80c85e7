/* Executes another program from a second thread. */
#include "hostile.h"
#include <pthread.h>
static void *execute(void *nothing)
{
	char *argv[] = { "true", NULL };

	(void)nothing;
	syscall(SYS_execve, "/bin/true", argv, argv + 1);
	return NULL;
}

int main(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, execute, NULL);
	pthread_join(thread, NULL);
	return verdict(-1);
}
