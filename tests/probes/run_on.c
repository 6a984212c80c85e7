/*
 * Says "started"; with an argument asks for getppid, which its filter refuses,
 * and says "unfiltered" if that answered, "refused" if it came back without an
 * answer; then waits for its standard input's end.
 */
#include <sys/syscall.h>
#include <unistd.h>

static int say(const char *word, size_t size)
{
	return write(1, word, size) == (ssize_t)size;
}

int main(int argc, char **argv)
{
	char byte;

	(void)argv;
	if (!say("started\n", 8))
		return 98;
	if (argc > 1 && !(syscall(SYS_getppid) >= 0 ? say("unfiltered\n", 11)
						    : say("refused\n", 8)))
		return 98;
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
