/*
 * Three requests to the kernel, each acknowledged: rtnetlink(7), and
 * linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h, v6.18.
 */
#include <string.h>

#include "network.h"
#include "sys.h"

enum {
	FAMILY_NETLINK = 16, ROUTE = 0, FAMILY_INET = 2,
	NEW_LINK = 16, NEW_ADDRESS = 20, NEW_ROUTE = 24, ERROR = 2,
	FLAG_REQUEST = 1, FLAG_ACK = 4, FLAG_EXCL = 0x200, FLAG_CREATE = 0x400,
	INTERFACE_UP = 1,
	ADDRESS_ADDRESS = 1, ADDRESS_LOCAL = 2,
	TABLE_MAIN = 254, PROTOCOL_BOOT = 3, SCOPE_UNIVERSE = 0, UNICAST = 1,
	ROUTE_INTERFACE = 4, ROUTE_GATEWAY = 5, NEXT_HOP_ON_LINK = 4,
	BAD_MESSAGE = -74,
};

struct header {	/* struct nlmsghdr */
	uint32_t size;
	uint16_t type;
	uint16_t flags;
	uint32_t sequence;
	uint32_t port;
};
struct attribute {	/* struct rtattr, with 4 bytes */
	uint16_t size;
	uint16_t type;
	uint8_t value[4];
};
struct link_request {
	struct header header;
	uint8_t family;		/* struct ifinfomsg */
	uint8_t pad;
	uint16_t type;
	int32_t interface;
	uint32_t flags;
	uint32_t change;
};
struct address_request {
	struct header header;
	uint8_t family;		/* struct ifaddrmsg */
	uint8_t prefix;
	uint8_t flags;
	uint8_t scope;
	int32_t interface;
	struct attribute local;
	struct attribute address;
};
struct route_request {
	struct header header;
	uint8_t family;		/* struct rtmsg */
	uint8_t to_prefix;
	uint8_t from_prefix;
	uint8_t service;
	uint8_t table;
	uint8_t protocol;
	uint8_t scope;
	uint8_t type;
	uint32_t flags;
	struct attribute gateway;
	struct attribute interface;
};
struct answer {
	struct header header;
	int32_t error;		/* struct nlmsgerr: 0 is an acknowledgement */
	uint8_t request[256];
};
_Static_assert(sizeof(struct header) == 16, "nlmsghdr");
_Static_assert(sizeof(struct link_request) == 32, "ifinfomsg");
_Static_assert(sizeof(struct address_request) == 24 + 16, "ifaddrmsg");
_Static_assert(sizeof(struct route_request) == 28 + 16, "rtmsg");

long rtnetlink_open(void)
{
	return sys3(SYS_socket, FAMILY_NETLINK,
		    02000003 /* SOCK_RAW | SOCK_CLOEXEC */, ROUTE);
}

/* The kernel answers before sendto returns (net/netlink/af_netlink.c,
 * netlink_ack, v6.18). */
static long request(int fd, const void *message, size_t size)
{
	struct answer answer;
	long got = arch_syscall(SYS_sendto, fd, (long)message, (long)size, 0, 0,
				0);

	if (got < 0)
		return got;
	got = sys_read(fd, &answer, sizeof(answer));
	if (got < 0)
		return got;
	if (got < (long)offsetof(struct answer, request) ||
	    answer.header.type != ERROR)
		return BAD_MESSAGE;
	return answer.error;
}

static struct header header_of(uint16_t type, size_t size, uint16_t flags)
{
	return (struct header){ (uint32_t)size, type,
				(uint16_t)(FLAG_REQUEST | FLAG_ACK | flags),
				1, 0 };
}

static struct attribute attribute_of(uint16_t type, const void *value)
{
	struct attribute attribute = { sizeof(attribute), type, { 0 } };

	memcpy(attribute.value, value, 4);
	return attribute;
}

long rtnetlink_up(int fd, int32_t interface)
{
	const struct link_request message = {
		.header = header_of(NEW_LINK, sizeof(message), 0),
		.interface = interface,
		.flags = INTERFACE_UP,
		.change = INTERFACE_UP,
	};

	return request(fd, &message, sizeof(message));
}

long rtnetlink_add_address(int fd, int32_t interface, const uint8_t address[4],
			   uint32_t prefix)
{
	const struct address_request message = {
		.header = header_of(NEW_ADDRESS, sizeof(message),
				    FLAG_CREATE | FLAG_EXCL),
		.family = FAMILY_INET,
		.prefix = (uint8_t)prefix,
		.interface = interface,
		.local = attribute_of(ADDRESS_LOCAL, address),
		.address = attribute_of(ADDRESS_ADDRESS, address),
	};

	return request(fd, &message, sizeof(message));
}

/* On the link: clouds give addresses of 32 bits, and a gateway outside of them. */
long rtnetlink_add_default(int fd, int32_t interface, const uint8_t gateway[4])
{
	const struct route_request message = {
		.header = header_of(NEW_ROUTE, sizeof(message),
				    FLAG_CREATE | FLAG_EXCL),
		.family = FAMILY_INET,
		.table = TABLE_MAIN,
		.protocol = PROTOCOL_BOOT,
		.scope = SCOPE_UNIVERSE,
		.type = UNICAST,
		.flags = NEXT_HOP_ON_LINK,
		.gateway = attribute_of(ROUTE_GATEWAY, gateway),
		.interface = attribute_of(ROUTE_INTERFACE, &interface),
	};

	return request(fd, &message, sizeof(message));
}
