/* The first Ethernet interface of a machine, as a plan wants it. */
#ifndef SHIM_NETWORK_H
#define SHIM_NETWORK_H

#include "dhcp_message.h"
#include "frame.h"

struct network_interface {
	int32_t index;
	char name[16];
	uint8_t hardware[6];
};

/* NETWORK is a plan's section.  Returns 0, or -1 with FAULT filled. */
int network_raise(const uint8_t *network, struct guest_fault *fault);

/* dhcp.c: ask who is there for an address.  Returns 0, or -1 with FAULT filled. */
int dhcp_ask(const struct network_interface *interface,
	     struct dhcp_lease *lease, struct guest_fault *fault);

/* rtnetlink.c; each returns 0 or -errno. */
long rtnetlink_open(void);
long rtnetlink_up(int fd, int32_t interface);
long rtnetlink_add_address(int fd, int32_t interface, const uint8_t address[4],
			   uint32_t prefix);
long rtnetlink_add_default(int fd, int32_t interface, const uint8_t gateway[4]);

#endif
