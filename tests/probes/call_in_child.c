/* A forked child calls getppid, which its filter may refuse; the parent waits. */
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	if (fork() == 0) {
		syscall(SYS_getppid);
		_exit(0);
	}
	wait(NULL);
	return write(1, "ran on\n", 7) != 7;
}
