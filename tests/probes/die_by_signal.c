/* Ends by the signal of its first argument. */
#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	raise(argc > 1 ? atoi(argv[1]) : SIGKILL);
	return 99;
}
