#include "machine.h"

#include <string.h>

#include "sys.h"
#include "text.h"

int machine_fault(struct guest_fault *fault, const char *where, long error,
		  const char *want)
{
	return guest_fault(fault, where, strerror((int)-error), want);
}

long machine_write(const char *path, const char *text)
{
	long fd = sys_open(path, 02000001 /* O_WRONLY | O_CLOEXEC */);
	long written;

	if (fd < 0)
		return fd;
	written = sys_write((int)fd, text, strlen(text));
	sys_close((int)fd);
	return written < 0 ? written : 0;
}

void machine_pause(unsigned milliseconds)
{
	const struct timespec time = {
		(time_t)(milliseconds / 1000),
		(long)(milliseconds % 1000) * 1000000,
	};

	sys2(SYS_nanosleep, (long)&time, 0);
}
