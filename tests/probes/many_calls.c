/* Asks for its parent's pid 20,000 times; the last answer in a word. */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	long answer = 0;

	for (int i = 0; i < 20000; i++)
		answer = syscall(SYS_getppid);
	return puts(answer < 0 ? "EPERM" : "answered") < 0;
}
