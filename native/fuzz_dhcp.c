/*
 * Answers of a DHCP server under sanitizers, of which the host sends whatever it
 * likes.  As fuzz.c: one input, or mutations of a good one for some seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dhcp_message.h"
#include "fuzz_input.h"
#include "load.h"

#define MAX_SIZE 1500U

static const struct dhcp_client client = { { 1, 2, 3, 4 },
					   { 0x52, 0x54, 0, 1, 2, 3 } };

static int is_ours(const uint8_t address[4])
{
	return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

/* What is taken can be configured, and asked for. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct dhcp_lease lease;
	uint8_t message[DHCP_ROOM];

	if (dhcp_read(bytes, size, &client, &lease) != 0)
		return 0;
	fuzz_require(memcmp(bytes + 4, client.transaction, 4) == 0);
	if (lease.type == DHCP_NAK)
		return 0;
	fuzz_require(lease.type == DHCP_OFFER || lease.type == DHCP_ACK);
	fuzz_require(lease.prefix >= 1 && lease.prefix <= 32);
	fuzz_require(is_ours(lease.address) && is_ours(lease.server));
	fuzz_require(load32_le(lease.gateway) == 0 || is_ours(lease.gateway));
	fuzz_require(dhcp_write(message, DHCP_REQUEST, &client, &lease) <=
		     sizeof(message));
	fuzz_require(memcmp(message + 245, lease.address, 4) == 0);
	return 0;
}

static size_t write_seed(uint8_t *bytes)
{
	static const uint8_t options[] = {
		99, 130, 83, 99, 53, 1, DHCP_ACK, 54, 4, 10, 0, 2, 2,
		1, 4, 255, 255, 255, 0, 0, 3, 4, 10, 0, 2, 2,
		6, 16, 10, 0, 2, 3, 10, 0, 2, 4, 10, 0, 2, 5, 10, 0, 2, 6,
		51, 4, 0, 1, 81, 128, 121, 13, 0, 10, 0, 2, 2,
		24, 10, 1, 2, 10, 0, 2, 9, 255,
	};

	memset(bytes, 0, 236);
	bytes[0] = 2;
	bytes[1] = 1;
	bytes[2] = 6;
	memcpy(bytes + 4, client.transaction, 4);
	memcpy(bytes + 16, "\x0a\0\x02\x0f", 4);
	memcpy(bytes + 28, client.hardware, 6);
	memcpy(bytes + 236, options, sizeof(options));
	return 236 + sizeof(options);
}

static int mutate(long seconds)
{
	uint8_t seed[MAX_SIZE];
	size_t whole = write_seed(seed);
	time_t end = time(NULL) + seconds;
	struct dhcp_lease lease;
	unsigned long runs = 0;

	if (dhcp_read(seed, whole, &client, &lease) != 0)
		return 1; /* a seed that is refused finds nothing */
	for (; time(NULL) < end; runs++) {
		size_t size = runs % 4 ? whole : fuzz_random() % (whole + 1);
		uint8_t *bytes = malloc(size + 1); /* for ASan's red zones */

		if (bytes == NULL)
			return 1;
		memcpy(bytes, seed, size);
		for (uint32_t i = fuzz_random() % 4; i > 0 && size > 236; i--)
			bytes[236 + fuzz_random() % (size - 236)] =
				(uint8_t)fuzz_random();
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
	printf("%lu inputs\n", runs);
	return 0;
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--mutate", mutate, MAX_SIZE, 0);
}
#endif
