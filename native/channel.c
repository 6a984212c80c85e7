/* Reading and writing with an end in time, whoever is at the other end. */
#include <string.h>

#include "channel.h"
#include "sys.h"

enum {
	GET_FLAGS = 3, SET_FLAGS = 4,	/* F_GETFL, F_SETFL: linux/fcntl.h */
	NONBLOCK = 04000,
	INTERRUPTED = -4, AGAIN = -11,	/* EINTR, EAGAIN */
};

uint64_t channel_now(void)
{
	struct timespec now = { 0, 0 };

	sys2(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, (long)&now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static int failed(struct guest_fault *fault, const char *where, long error)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = where;
	fault->want = "an open channel";
	text_add(&text, "errno ");
	text_add_decimal(&text, (uint64_t)-error);
	return -1;
}

static int set_blocking(int fd, int blocks, struct guest_fault *fault)
{
	long flags = sys2(SYS_fcntl, fd, GET_FLAGS);
	long error = flags < 0 ? flags :
		     sys3(SYS_fcntl, fd, SET_FLAGS, blocks ? flags & ~NONBLOCK
							   : flags | NONBLOCK);

	return error < 0 ? failed(fault, "channel.prepare", error) : 0;
}

int channel_prepare(int fd, struct guest_fault *fault)
{
	return set_blocking(fd, 0, fault);
}

/* virtio_console waits for the device to take a buffer only if the file may wait
 * (drivers/char/virtio_console.c, __send_to_port, v6.18). */
int channel_settle(int fd, struct guest_fault *fault)
{
	return set_blocking(fd, 1, fault);
}

/* Wait until FD is ready for EVENT. */
static int wait_for(int fd, short event, uint64_t deadline,
		    struct guest_fault *fault)
{
	struct pollfd polled = { fd, event, 0 };

	for (;;) {
		uint64_t now = deadline == CHANNEL_NEVER ? 0 : channel_now();
		uint64_t left = deadline > now ? deadline - now : 0;
		struct timespec timeout = {
			(time_t)(left / 1000000000U),
			(long)(left % 1000000000U),
		};
		long ready = sys_ppoll(&polled, 1, deadline == CHANNEL_NEVER ?
				       NULL : &timeout);

		/* A port of virtio-serial whose other side is gone takes
		 * nothing, and would say for ever that it is ready. */
		if (ready > 0 && event == POLLOUT &&
		    (polled.revents & (POLLHUP | POLLOUT)) == POLLHUP)
			return guest_fault(fault, "channel", "nobody at its "
					   "other end", "an open channel");
		if (ready > 0)
			return 0; /* what hung up says so to a read or write */
		if (ready == 0)
			return guest_fault(fault, "channel", "silence",
					   "the other side within its time");
		if (ready != INTERRUPTED)
			return failed(fault, "channel.wait", ready);
	}
}

/* Take SIZE bytes off the front of PARTS; returns how many parts are done. */
static size_t advance(struct iovec *parts, size_t count, size_t size)
{
	size_t done = 0;

	while (done < count && size >= parts[done].iov_len)
		size -= parts[done++].iov_len;
	if (done < count) {
		parts[done].iov_base = (uint8_t *)parts[done].iov_base + size;
		parts[done].iov_len -= size;
	}
	return done;
}

int channel_write(int fd, struct iovec *parts, size_t count, uint64_t deadline,
		  struct guest_fault *fault)
{
	size_t done = advance(parts, count, 0);

	while (done < count) {
		long wrote;

		if (wait_for(fd, POLLOUT, deadline, fault) != 0)
			return -1;
		wrote = sys3(SYS_writev, fd, (long)(parts + done),
			     (long)(count - done));
		if (wrote == AGAIN || wrote == INTERRUPTED)
			continue;
		if (wrote < 0)
			return failed(fault, "channel.write", wrote);
		done += advance(parts + done, count - done, (size_t)wrote);
	}
	return 0;
}

int channel_read(int fd, uint8_t *bytes, size_t size, uint64_t deadline,
		 struct guest_fault *fault)
{
	size_t done = 0;

	while (done < size) {
		long got;

		if (wait_for(fd, POLLIN, deadline, fault) != 0)
			return -1;
		got = sys_read(fd, bytes + done, size - done);
		if (got == AGAIN || got == INTERRUPTED)
			continue;
		if (got < 0)
			return failed(fault, "channel.read", got);
		if (got == 0)
			return guest_fault_number(fault, "channel.end", done,
						  "all bytes of a message");
		done += (size_t)got;
	}
	return 0;
}

int channel_receive(int fd, uint64_t types, struct frame *frame, uint8_t *body,
		    size_t room, uint64_t deadline, struct guest_fault *fault)
{
	uint8_t header[FRAME_HEADER_SIZE];

	if (channel_read(fd, header, sizeof(header), deadline, fault) != 0 ||
	    frame_read_header(header, frame, fault) != 0)
		return -1;
	if ((types & FRAME_BIT(frame->type)) == 0)
		return guest_fault_number(fault, "frame.type", frame->type,
					  "the message whose turn it is");
	if (frame->size > room)
		return guest_fault_number(fault, "frame.size", frame->size,
					  "what there is room for");
	return channel_read(fd, body, frame->size, deadline, fault);
}
