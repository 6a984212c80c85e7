/* A small file, whole. */
#ifndef SHIM_FILE_H
#define SHIM_FILE_H

#include "sys.h"

/* Returns how many of ROOM BYTES the file at PATH fills, or -errno.  All of ROOM
 * means that it may be larger. */
static inline long file_read(const char *path, uint8_t *bytes, size_t room)
{
	long fd = sys_open(path, 02000000 /* O_RDONLY | O_CLOEXEC */);
	size_t size = 0;
	long got;

	if (fd < 0)
		return fd;
	do {
		got = sys_read((int)fd, bytes + size, room - size);
		size += got > 0 ? (size_t)got : 0;
	} while (got > 0 && size < room);
	sys_close((int)fd);
	return got < 0 ? got : (long)size;
}

#endif
