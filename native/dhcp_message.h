/*
 * Messages between a DHCP client and a server: RFC 2131, section 2, and RFC 2132.
 * Pure: bytes in, a lease out.
 */
#ifndef SHIM_DHCP_MESSAGE_H
#define SHIM_DHCP_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "plan.h"

#define DHCP_ROOM 576	/* what every client has to take: RFC 2131, section 2 */
#define DHCP_ADDRESS_SIZE 4

enum dhcp_type {
	DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5,
	DHCP_NAK = 6,
};

/* Who asks: the answer to somebody else, or to an earlier question, is none. */
struct dhcp_client {
	uint8_t transaction[4];
	uint8_t hardware[6];
};

/* Addresses in network order; zeros are none. */
struct dhcp_lease {
	enum dhcp_type type;
	uint8_t address[DHCP_ADDRESS_SIZE];
	uint8_t server[DHCP_ADDRESS_SIZE];
	uint8_t gateway[DHCP_ADDRESS_SIZE];
	uint8_t dns[PLAN_DNS_SERVERS][DHCP_ADDRESS_SIZE];
	uint32_t prefix;	/* 1 to 32 */
};

/* Write what CLIENT sends: DHCP_DISCOVER, or DHCP_REQUEST for what LEASE offers.
 * Returns the size. */
size_t dhcp_write(uint8_t message[DHCP_ROOM], enum dhcp_type type,
		  const struct dhcp_client *client,
		  const struct dhcp_lease *lease);

/*
 * Read the SIZE bytes of an answer to CLIENT.  Returns 0 with LEASE filled: an
 * offer or an acknowledgement of an address that a machine may have, or a
 * refusal; or -1 if it is anything else, which a client passes over.
 */
int dhcp_read(const uint8_t *message, size_t size,
	      const struct dhcp_client *client, struct dhcp_lease *lease);

#endif
