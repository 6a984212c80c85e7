/* Writes the filter of the generated file beside it to standard output. */
#include <seccomp.h>
#include <stdio.h>
#include <unistd.h>

scmp_filter_ctx profile_filter(void);

int main(void)
{
	scmp_filter_ctx filter = profile_filter();

	if (filter == NULL) {
		perror("profile_filter");
		return 1;
	}
	return seccomp_export_bpf(filter, STDOUT_FILENO) < 0;
}
