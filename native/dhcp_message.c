#include "dhcp_message.h"

#include <string.h>

#include "load.h"

enum {	/* offsets, RFC 2131, figure 1 */
	OPERATION = 0, HARDWARE_TYPE = 1, HARDWARE_SIZE = 2, TRANSACTION = 4,
	FLAGS = 10, YOUR_ADDRESS = 16, HARDWARE = 28, COOKIE = 236,
	OPTIONS = 240,
	REQUEST = 1, REPLY = 2, ETHERNET = 1, LEAST_SIZE = 300,
};

enum {	/* RFC 2132; 121 is RFC 3442 */
	PAD = 0, SUBNET_MASK = 1, ROUTER = 3, DNS = 6, REQUESTED_ADDRESS = 50,
	MESSAGE_TYPE = 53, SERVER = 54, WANTED = 55, MOST_SIZE = 57,
	CLASSLESS_ROUTES = 121, END = 255,
};

static const uint8_t cookie[4] = { 99, 130, 83, 99 };

static size_t add(uint8_t *message, size_t at, uint8_t option,
		  const void *bytes, uint8_t size)
{
	message[at] = option;
	message[at + 1] = size;
	memcpy(message + at + 2, bytes, size);
	return at + 2 + size;
}

/* The answer shall be a broadcast: no address is ours yet. */
size_t dhcp_write(uint8_t message[DHCP_ROOM], enum dhcp_type type,
		  const struct dhcp_client *client,
		  const struct dhcp_lease *lease)
{
	static const uint8_t wanted[] = { SUBNET_MASK, ROUTER, DNS,
					  CLASSLESS_ROUTES };
	static const uint8_t most[2] = { DHCP_ROOM >> 8, DHCP_ROOM & 0xff };
	const uint8_t kind = (uint8_t)type;
	size_t at = OPTIONS;

	memset(message, 0, DHCP_ROOM);
	message[OPERATION] = REQUEST;
	message[HARDWARE_TYPE] = ETHERNET;
	message[HARDWARE_SIZE] = sizeof(client->hardware);
	memcpy(message + TRANSACTION, client->transaction, 4);
	message[FLAGS] = 0x80;
	memcpy(message + HARDWARE, client->hardware, sizeof(client->hardware));
	memcpy(message + COOKIE, cookie, sizeof(cookie));
	at = add(message, at, MESSAGE_TYPE, &kind, 1);
	if (type == DHCP_REQUEST) {
		at = add(message, at, REQUESTED_ADDRESS, lease->address, 4);
		at = add(message, at, SERVER, lease->server, 4);
	}
	at = add(message, at, WANTED, wanted, sizeof(wanted));
	at = add(message, at, MOST_SIZE, most, sizeof(most));
	message[at++] = END;
	return at < LEAST_SIZE ? LEAST_SIZE : at;
}

/* Returns 1 to 32, or 0 if it is no mask. */
static uint32_t prefix_of(const uint8_t mask[4])
{
	uint32_t bits = load32_be(mask);
	uint32_t zeros = ~bits;

	if (bits == 0 || (zeros & (zeros + 1)) != 0)
		return 0;
	return 32 - (uint32_t)__builtin_popcount(zeros);
}

/* The gateway of 0.0.0.0/0 among the routes, each of which is a prefix, the
 * significant bytes of a network, and a gateway.  Returns 0, or -1 if they do not
 * fill the option. */
static int read_routes(const uint8_t *value, size_t size, uint8_t gateway[4])
{
	size_t at = 0;

	while (at < size) {
		uint8_t prefix = value[at++];
		size_t network = (prefix + 7U) / 8;

		if (prefix > 32 || size - at < network + 4)
			return -1;
		if (prefix == 0)
			memcpy(gateway, value + at, 4);
		at += network + 4;
	}
	return 0;
}

struct read {
	struct dhcp_lease *lease;
	uint8_t routed[4];	/* gateway of the classless routes */
	int has_routes;		/* then there is no other gateway */
};

/* Returns 0, or -1 for an option of a size that it cannot have. */
static int read_option(struct read *read, uint8_t option, const uint8_t *value,
		       size_t size)
{
	struct dhcp_lease *lease = read->lease;

	switch (option) {
	case MESSAGE_TYPE:
		if (size != 1)
			return -1;
		lease->type = (enum dhcp_type)value[0];
		return 0;
	case SUBNET_MASK:
		lease->prefix = size == 4 ? prefix_of(value) : 0;
		return lease->prefix == 0 ? -1 : 0;
	case SERVER:
		if (size != 4)
			return -1;
		memcpy(lease->server, value, 4);
		return 0;
	case ROUTER:
		if (size < 4 || size % 4 != 0)
			return -1;
		memcpy(lease->gateway, value, 4);
		return 0;
	case DNS:
		if (size < 4 || size % 4 != 0)
			return -1;
		memcpy(lease->dns, value, size < sizeof(lease->dns) ?
		       size : sizeof(lease->dns));
		return 0;
	case CLASSLESS_ROUTES:
		read->has_routes = 1;
		return read_routes(value, size, read->routed);
	default:
		return 0;
	}
}

/* Options may end without an END where the message does. */
static int read_options(const uint8_t *message, size_t size, struct read *read)
{
	size_t at = OPTIONS;

	while (at < size && message[at] != END) {
		size_t length;

		if (message[at] == PAD) {
			at++;
			continue;
		}
		if (size - at < 2)
			return -1;
		length = message[at + 1];
		if (size - at - 2 < length ||
		    read_option(read, message[at], message + at + 2,
				length) != 0)
			return -1;
		at += 2 + length;
	}
	return 0;
}

/* Not of this network, of a loop, of many, or of all. */
static int may_be_ours(const uint8_t address[4])
{
	return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

int dhcp_read(const uint8_t *message, size_t size,
	      const struct dhcp_client *client, struct dhcp_lease *lease)
{
	struct read read = { lease, { 0 }, 0 };

	memset(lease, 0, sizeof(*lease));
	if (size < OPTIONS || message[OPERATION] != REPLY ||
	    message[HARDWARE_TYPE] != ETHERNET ||
	    message[HARDWARE_SIZE] != sizeof(client->hardware) ||
	    memcmp(message + TRANSACTION, client->transaction, 4) != 0 ||
	    memcmp(message + HARDWARE, client->hardware,
		   sizeof(client->hardware)) != 0 ||
	    memcmp(message + COOKIE, cookie, sizeof(cookie)) != 0 ||
	    read_options(message, size, &read) != 0)
		return -1;
	memcpy(lease->address, message + YOUR_ADDRESS, 4);
	if (read.has_routes)
		memcpy(lease->gateway, read.routed, 4);
	if (lease->type == DHCP_NAK)
		return 0;
	return (lease->type == DHCP_OFFER || lease->type == DHCP_ACK) &&
	       lease->prefix != 0 && may_be_ours(lease->address) &&
	       may_be_ours(lease->server) &&
	       (load32_le(lease->gateway) == 0 || may_be_ours(lease->gateway)) ?
	       0 : -1;
}
