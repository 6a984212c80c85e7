/* Runs its arguments as another program by vfork and execve; status as that. */
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv, char **environment)
{
	int status;
	pid_t child = argc > 1 ? vfork() : -1;

	if (child == 0) {
		execve(argv[1], argv + 1, environment);
		_exit(98);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 97;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}
