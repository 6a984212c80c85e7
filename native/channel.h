/* Bytes over a file (vsock, virtio-serial, TCP), each time until a deadline. */
#ifndef SHIM_CHANNEL_H
#define SHIM_CHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "frame.h"

#define CHANNEL_NEVER UINT64_MAX	/* the deadline that does not come */

/* Nanoseconds on a clock that only counts up.  The host can make it slow or
 * fast: nothing but patience depends on it. */
uint64_t channel_now(void);

/* Make reads and writes of FD return at once.  Returns 0 or -1. */
int channel_prepare(int fd, struct guest_fault *fault);

/* Make writes of FD return when the other side has taken what was written, where
 * the file can tell: before a machine goes off.  Returns 0 or -1. */
int channel_settle(int fd, struct guest_fault *fault);

/* Write COUNT parts, which are used up by it.  Returns 0 or -1. */
int channel_write(int fd, struct iovec *parts, size_t count, uint64_t deadline,
		  struct guest_fault *fault);

/* Read exactly SIZE bytes.  Returns 0 or -1. */
int channel_read(int fd, uint8_t *bytes, size_t size, uint64_t deadline,
		 struct guest_fault *fault);

/*
 * Read a frame whose body has at most ROOM bytes, of one of TYPES, a FRAME_BIT
 * each.  Returns 0 with FRAME and BODY filled, or -1.  Nothing behind the frame
 * is read.
 */
int channel_receive(int fd, uint64_t types, struct frame *frame, uint8_t *body,
		    size_t room, uint64_t deadline, struct guest_fault *fault);

#endif
