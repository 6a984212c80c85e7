/*
 * Prints the number of each signal it gets, a line each, and goes on; SIGUSR2
 * ends it with status 7.  Arguments: signals to handle.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void report(int signal)
{
	char line[8];

	if (write(1, line, (size_t)snprintf(line, sizeof(line), "%d\n", signal)) < 0)
		_exit(98);
	if (signal == SIGUSR2)
		ended = 1;
}

int main(int argc, char **argv)
{
	sigset_t usr2;
	sigset_t none;

	sigemptyset(&none);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	signal(SIGUSR2, report);
	for (int i = 1; i < argc; i++)
		signal(atoi(argv[i]), report);
	if (write(1, "ready\n", 6) != 6)
		return 98;
	while (!ended)
		sigsuspend(&none);
	return 7;
}
