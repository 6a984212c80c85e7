/* A second thread calls getppid, which its filter may refuse. */
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *call(void *nothing)
{
	syscall(SYS_getppid);
	return nothing;
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, call, NULL) != 0)
		return 98;
	pthread_join(thread, NULL);
	return write(1, "ran on\n", 7) != 7;
}
