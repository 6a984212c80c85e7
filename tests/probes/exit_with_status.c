/* Ends with the status of its first argument, saying that it ran. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (write(1, "ran\n", 4) != 4)
		return 99;
	return argc > 1 ? atoi(argv[1]) : 0;
}
