/* The channel of a plan: a port of virtio-serial, or a socket. */
#include <string.h>

#include "channel.h"
#include "load.h"
#include "machine.h"
#include "sys.h"

enum { FAMILY_INET = 2, FAMILY_VSOCK = 40, IN_PROGRESS = -115,
       NON_BLOCKING_STREAM = 02004001 /* SOCK_STREAM | NONBLOCK | CLOEXEC */ };

union address {
	struct {	/* struct sockaddr_in, linux/in.h: in network order */
		uint16_t family;
		uint8_t port[2];
		uint8_t address[4];
		uint8_t zero[8];
	} inet;
	struct {	/* struct sockaddr_vm, linux/vm_sockets.h */
		uint16_t family;
		uint16_t reserved;
		uint32_t port;
		uint32_t cid;
		uint8_t flags;
		uint8_t zero[3];
	} vsock;
};
_Static_assert(sizeof(union address) == 16, "sockaddr_in, sockaddr_vm");

static union address address_of(const uint8_t *channel)
{
	union address address;
	uint32_t port = load32_le(channel + 16);

	memset(&address, 0, sizeof(address));
	if (load32_le(channel) == PLAN_VSOCK) {
		address.vsock.family = FAMILY_VSOCK;
		address.vsock.cid = load32_le(channel + 12);
		address.vsock.port = port;
		return address;
	}
	address.inet.family = FAMILY_INET;
	address.inet.port[0] = (uint8_t)(port >> 8);
	address.inet.port[1] = (uint8_t)port;
	memcpy(address.inet.address, channel + 20, 4);
	return address;
}

/* Returns 0, or -errno of the attempt. */
static long finish(int fd, uint64_t deadline)
{
	enum { SOCKET = 1, ERROR = 4, TIMED_OUT = -110 };
	struct pollfd polled = { fd, POLLOUT, 0 };
	uint64_t now = channel_now();
	uint64_t left = deadline > now ? deadline - now : 0;
	struct timespec timeout = { (time_t)(left / 1000000000U),
				    (long)(left % 1000000000U) };
	int32_t error = 0;
	uint32_t size = sizeof(error);
	long got = sys_ppoll(&polled, 1, &timeout);

	if (got <= 0)
		return got == 0 ? TIMED_OUT : got;
	got = arch_syscall(SYS_getsockopt, fd, SOCKET, ERROR, (long)&error,
			   (long)&size, 0);
	return got < 0 ? got : -error;
}

/* Returns a connected socket, or -errno. */
static long attempt(const union address *address, uint64_t deadline)
{
	long fd = sys3(SYS_socket, address->inet.family, NON_BLOCKING_STREAM,
		       0);
	long error;

	if (fd < 0)
		return fd;
	error = sys3(SYS_connect, fd, (long)address, sizeof(*address));
	if (error == IN_PROGRESS)
		error = finish((int)fd, deadline);
	if (error == 0)
		return fd;
	sys_close((int)fd);
	return error;
}

/* A relying party may come up after the machine: it is tried again until the time
 * is up. */
static int connect_socket(const uint8_t *channel, unsigned seconds, int *fd,
			  struct guest_fault *fault)
{
	enum { BETWEEN = 200 /* milliseconds */ };
	uint64_t deadline = channel_now() + seconds * UINT64_C(1000000000);
	union address address = address_of(channel);
	long got;

	while ((got = attempt(&address, deadline)) < 0) {
		if (channel_now() >= deadline)
			return machine_fault(fault, "open-channel", got,
					     "a connection to the plan's "
					     "relying party");
		machine_pause(BETWEEN);
	}
	*fd = (int)got;
	return 0;
}

int connect_channel(const struct plan *plan, unsigned seconds, int *fd,
		    struct guest_fault *fault)
{
	if (load32_le(plan->channel) == PLAN_VIRTIO)
		return virtio_port_open(plan->channel_name, seconds, fd, fault);
	return connect_socket(plan->channel, seconds, fd, fault);
}

/* The machine goes off next, and what the kernel has not sent by then is lost. */
void connect_end(const struct plan *plan, int fd, unsigned seconds)
{
	uint64_t deadline = channel_now() + seconds * UINT64_C(1000000000);
	struct guest_fault nobody_cares;
	uint8_t byte;

	if (load32_le(plan->channel) != PLAN_VIRTIO) {
		sys2(SYS_shutdown, fd, 1 /* SHUT_WR */);
		while (channel_now() < deadline &&
		       channel_read(fd, &byte, 1, deadline,
				    &nobody_cares) == 0)
			continue;
	}
	sys_close(fd);
}
