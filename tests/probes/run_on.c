/*
 * Says "started", asks for getppid, which its filter refuses, and says
 * "unfiltered" if that came back; then waits for its standard input's end.
 */
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char byte;

	(void)argv;
	if (write(1, "started\n", 8) != 8)
		return 98;
	if (argc > 1)
		syscall(SYS_getppid);
	if (argc > 1 && write(1, "unfiltered\n", 11) != 11)
		return 98;
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
