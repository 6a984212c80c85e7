#include "network.h"

#include <string.h>

#include "channel.h"
#include "load.h"
#include "machine.h"
#include "sys.h"

enum { FAMILY_INET = 2, DATAGRAM = 02000002 /* SOCK_DGRAM | CLOEXEC */,
       GET_NAME = 0x8910, GET_HARDWARE = 0x8927, ETHERNET = 1,
       LAST_INDEX = 255, EXISTS = -17, NO_ENTRY = -2, SECONDS = 10,
       CURRENT = -100 /* AT_FDCWD */ };

struct request {	/* struct ifreq, linux/if.h */
	char name[16];
	union {
		int32_t index;
		struct { uint16_t family; uint8_t bytes[14]; } hardware;
		uint8_t room[24];
	};
};
_Static_assert(sizeof(struct request) == 40, "ifreq");

/* Returns 1 with INTERFACE filled, 0 if there is none yet, or -errno. */
static long find_ethernet(struct network_interface *interface)
{
	long fd = sys3(SYS_socket, FAMILY_INET, DATAGRAM, 0);
	long found = 0;

	if (fd < 0)
		return fd;
	for (int32_t i = 1; i <= LAST_INDEX && !found; i++) {
		struct request request = { .index = i };

		if (sys_ioctl((int)fd, GET_NAME, &request) < 0 ||
		    sys_ioctl((int)fd, GET_HARDWARE, &request) < 0 ||
		    request.hardware.family != ETHERNET)
			continue;
		interface->index = i;
		memcpy(interface->name, request.name, sizeof(request.name));
		memcpy(interface->hardware, request.hardware.bytes,
		       sizeof(interface->hardware));
		found = 1;
	}
	sys_close((int)fd);
	return found;
}

static int wait_for_ethernet(struct network_interface *interface,
			     struct guest_fault *fault)
{
	uint64_t deadline = channel_now() + SECONDS * UINT64_C(1000000000);
	long found;

	while ((found = find_ethernet(interface)) == 0) {
		if (channel_now() >= deadline)
			return guest_fault(fault, "raise-network",
					   "no Ethernet interface", "one: its "
					   "driver is a kernel module");
		machine_pause(5);
	}
	return found < 0 ? machine_fault(fault, "raise-network", found,
					 "an Ethernet interface") : 0;
}

static void add_server(struct text *text, const uint8_t address[4])
{
	text_add(text, "nameserver ");
	for (int i = 0; i < 4; i++) {
		text_add_decimal(text, address[i]);
		text_add(text, i < 3 ? "." : "\n");
	}
}

/* A file of its own, whatever the image has there.  Returns 0 or -errno. */
static long write_resolver(const uint8_t dns[PLAN_DNS_SERVERS][4])
{
	static const char path[] = "/etc/resolv.conf";
	char content[PLAN_DNS_SERVERS * 32];
	struct text text = { content, sizeof(content), 0 };
	long error = sys3(SYS_mkdirat, CURRENT, (long)"/etc", 0755);
	long fd;

	for (size_t i = 0; i < PLAN_DNS_SERVERS; i++)
		if (load32_le(dns[i]) != 0)
			add_server(&text, dns[i]);
	if (text.size == 0)
		return 0;
	if (error == 0 || error == EXISTS)
		error = sys3(SYS_unlinkat, CURRENT, (long)path, 0);
	if (error < 0 && error != NO_ENTRY)
		return error;
	fd = arch_syscall(SYS_openat, CURRENT, (long)path,
			  02000301 /* O_WRONLY | O_CREAT | O_EXCL | CLOEXEC */,
			  0644, 0, 0);
	if (fd < 0)
		return fd;
	error = sys_write((int)fd, content, text.size);
	sys_close((int)fd);
	return error < 0 ? error : 0;
}

/* What a plan fixes; with DHCP only who answers for names. */
static void take_plan(struct dhcp_lease *lease, const uint8_t *network)
{
	if (load32_le(network) == PLAN_STATIC) {
		memset(lease, 0, sizeof(*lease));
		memcpy(lease->address, network + 4, 4);
		lease->prefix = load32_le(network + 8);
		memcpy(lease->gateway, network + 12, 4);
	}
	if (load32_le(network + 16) != 0)
		memcpy(lease->dns, network + 16, sizeof(lease->dns));
}

static int configure(int fd, const struct network_interface *interface,
		     const struct dhcp_lease *lease, struct guest_fault *fault)
{
	long error = rtnetlink_add_address(fd, interface->index, lease->address,
					   lease->prefix);

	if (error < 0)
		return machine_fault(fault, "raise-network", error,
				     "an address for the interface");
	if (load32_le(lease->gateway) != 0)
		error = rtnetlink_add_default(fd, interface->index,
					      lease->gateway);
	if (error < 0)
		return machine_fault(fault, "raise-network", error,
				     "a route over the gateway");
	error = write_resolver(lease->dns);
	return error < 0 ? machine_fault(fault, "raise-network", error,
					 "/etc/resolv.conf") : 0;
}

int network_raise(const uint8_t *network, struct guest_fault *fault)
{
	struct network_interface interface;
	struct dhcp_lease lease;
	long fd;
	long error;
	int outcome = 0;

	if (wait_for_ethernet(&interface, fault) != 0)
		return -1;
	fd = rtnetlink_open();
	if (fd < 0)
		return machine_fault(fault, "raise-network", fd, "rtnetlink");
	error = rtnetlink_up((int)fd, interface.index);
	if (error < 0)
		outcome = machine_fault(fault, "raise-network", error,
					"the interface up");
	else if (load32_le(network) == PLAN_DHCP)
		outcome = dhcp_ask(&interface, &lease, fault);
	if (outcome == 0) {
		take_plan(&lease, network);
		outcome = configure((int)fd, &interface, &lease, fault);
	}
	sys_close((int)fd);
	return outcome;
}
