/* Starts as many processes as its argument says, and says how many it got. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int most = atoi(argc > 1 ? argv[1] : "1");
	int started = 0;

	while (started < most) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		started++;
	}
	printf("started %d\n", started);
	return 0;
}
