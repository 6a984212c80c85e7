/* Makes as many ioctl calls as the first argument says, each with a request of
 * its own, on a file that is not open. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 0;

	for (long request = 0; request < count; request++)
		syscall(SYS_ioctl, -1, request, 0);
	return 0;
}
