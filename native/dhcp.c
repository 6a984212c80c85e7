/*
 * A client of DHCP (RFC 2131, section 3.1) over an ordinary socket that is bound
 * to its interface: without an address the kernel sends from 0.0.0.0, and takes
 * what comes to all.  Its lease is not renewed: clouds keep an address for as
 * long as its machine.
 */
#include <string.h>

#include "channel.h"
#include "machine.h"
#include "network.h"
#include "sys.h"

enum { FAMILY_INET = 2, DATAGRAM = 02000002 /* SOCK_DGRAM | CLOEXEC */,
       SOCKET = 1, BROADCAST = 6, BIND_TO_DEVICE = 25, CLIENT_PORT = 68,
       SERVER_PORT = 67, ATTEMPTS = 6, INTERRUPTED = -4 };

struct address {	/* struct sockaddr_in, in network order */
	uint16_t family;
	uint8_t port[2];
	uint8_t address[4];
	uint8_t zero[8];
};
_Static_assert(sizeof(struct address) == 16, "sockaddr_in");

/* Returns the socket, or -errno. */
static long open_socket(const struct network_interface *interface)
{
	static const struct address own = { FAMILY_INET, { 0, CLIENT_PORT },
					    { 0 }, { 0 } };
	static const int32_t yes = 1;
	long fd = sys3(SYS_socket, FAMILY_INET, DATAGRAM, 0);
	long error;

	if (fd < 0)
		return fd;
	error = arch_syscall(SYS_setsockopt, fd, SOCKET, BIND_TO_DEVICE,
			     (long)interface->name, sizeof(interface->name), 0);
	if (error == 0)
		error = arch_syscall(SYS_setsockopt, fd, SOCKET, BROADCAST,
				     (long)&yes, sizeof(yes), 0);
	if (error == 0)
		error = sys3(SYS_bind, fd, (long)&own, sizeof(own));
	if (error == 0)
		return fd;
	sys_close((int)fd);
	return error;
}

/* Wait for an answer of TYPE, or a refusal if it is to be an acknowledgement.
 * Returns 1 with LEASE filled, 0 at the deadline, or -errno. */
static long await(int fd, const struct dhcp_client *client,
		  enum dhcp_type type, uint64_t deadline,
		  struct dhcp_lease *lease)
{
	uint8_t message[1500];

	for (;;) {
		struct pollfd polled = { fd, POLLIN, 0 };
		uint64_t now = channel_now();
		uint64_t left = deadline > now ? deadline - now : 0;
		const struct timespec timeout = {
			(time_t)(left / 1000000000U),
			(long)(left % 1000000000U),
		};
		long got = left == 0 ? 0 : sys_ppoll(&polled, 1, &timeout);

		if (got == 0)
			return 0;
		if (got > 0)
			got = sys_read(fd, message, sizeof(message));
		if (got < 0 && got != INTERRUPTED)
			return got;
		if (got > 0 && dhcp_read(message, (size_t)got, client,
					 lease) == 0 &&
		    (lease->type == type ||
		     (lease->type == DHCP_NAK && type == DHCP_ACK)))
			return 1;
	}
}

/* Send a message again and again, each time with twice the patience.  Returns as
 * `await` does. */
static long exchange(int fd, const struct dhcp_client *client,
		     enum dhcp_type sent, enum dhcp_type awaited,
		     struct dhcp_lease *lease)
{
	static const struct address everybody = {
		FAMILY_INET, { 0, SERVER_PORT }, { 255, 255, 255, 255 }, { 0 },
	};
	const struct dhcp_lease offer = *lease;
	uint8_t message[DHCP_ROOM];
	size_t size = dhcp_write(message, sent, client, &offer);
	uint64_t patience = 500000000U;
	long got = 0;

	for (int i = 0; i < ATTEMPTS && got == 0; i++, patience *= 2) {
		got = arch_syscall(SYS_sendto, fd, (long)message, (long)size, 0,
				   (long)&everybody, sizeof(everybody));
		if (got < 0)
			return got;
		got = await(fd, client, awaited, channel_now() + patience,
			    lease);
	}
	return got;
}

static int ask(int fd, const struct dhcp_client *client,
	       struct dhcp_lease *lease, struct guest_fault *fault)
{
	long got = exchange(fd, client, DHCP_DISCOVER, DHCP_OFFER, lease);

	if (got < 0)
		return machine_fault(fault, "dhcp", got, "an offer");
	if (got == 0)
		return guest_fault(fault, "dhcp", "silence", "an offer");
	got = exchange(fd, client, DHCP_REQUEST, DHCP_ACK, lease);
	if (got < 0)
		return machine_fault(fault, "dhcp", got, "an acknowledgement");
	if (got == 0)
		return guest_fault(fault, "dhcp", "silence",
				   "an acknowledgement");
	if (lease->type == DHCP_NAK)
		return guest_fault(fault, "dhcp", "a refusal",
				   "an acknowledgement");
	return 0;
}

int dhcp_ask(const struct network_interface *interface,
	     struct dhcp_lease *lease, struct guest_fault *fault)
{
	struct dhcp_client client;
	long fd = open_socket(interface);
	long got;
	int error;

	if (fd < 0)
		return machine_fault(fault, "dhcp", fd, "a socket");
	memcpy(client.hardware, interface->hardware, sizeof(client.hardware));
	got = sys3(SYS_getrandom, (long)client.transaction,
		   sizeof(client.transaction), 0);
	memset(lease, 0, sizeof(*lease));
	error = got == sizeof(client.transaction) ?
		ask((int)fd, &client, lease, fault) :
		guest_fault(fault, "dhcp", "no random bytes", "4 of the kernel");
	sys_close((int)fd);
	return error;
}
