/* Ignores SIGTERM, says so, and waits for ever; so does a child of it. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
	signal(SIGTERM, SIG_IGN);
	if (fork() != 0 && write(1, "ready\n", 6) != 6)
		return 98;
	for (;;)
		pause();
}
