/* Stops, and ends with status 5 once continued. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
	if (write(1, "stopping\n", 9) != 9)
		return 98;
	raise(SIGSTOP);
	return 5;
}
