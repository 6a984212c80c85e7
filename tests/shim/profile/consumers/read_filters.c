/* read_filters PID: writes each seccomp filter of a process as 4 bytes of length and its instructions. */
#include <linux/filter.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define SECCOMP_GET_FILTER 0x420c /* PTRACE_SECCOMP_GET_FILTER, include/uapi/linux/ptrace.h */

int main(int argc, char **argv)
{
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	static struct sock_filter filter[BPF_MAXINSNS];
	long length;
	long index;
	int status;

	if (pid == 0 || ptrace(PTRACE_ATTACH, pid, 0, 0) < 0 || waitpid(pid, &status, 0) < 0) {
		perror("attach");
		return 1;
	}
	for (index = 0; (length = ptrace(SECCOMP_GET_FILTER, pid, (void *)index, filter)) > 0; index++) {
		uint32_t count = (uint32_t)length;

		fwrite(&count, sizeof(count), 1, stdout);
		fwrite(filter, sizeof(filter[0]), count, stdout);
	}
	if (index == 0)
		perror("PTRACE_SECCOMP_GET_FILTER");
	return index == 0;
}
