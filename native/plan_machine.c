/* The sections of a plan that say what a machine has to be before the program. */
#include <string.h>

#include "load.h"
#include "plan_sections.h"

_Static_assert(PLAN_NETWORK_SIZE == 16 + 4 * PLAN_DNS_SERVERS + 4, "network");
_Static_assert(PLAN_CHANNEL_SIZE == 32 + 32, "channel");

static int is_letter(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static int is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

/* Letters, digits, and of the rest those in OTHERS, but first. */
static int is_name(const char *name, const char *others)
{
	if (!is_letter(name[0]) && !is_digit(name[0]))
		return 0;
	for (; *name != 0; name++)
		if (!is_letter(*name) && !is_digit(*name) &&
		    strchr(others, *name) == NULL)
			return 0;
	return 1;
}

/* Each entry tiles a multiple of 8 bytes: its digest, its path, zeros. */
int plan_read_modules(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	static const char want[] = "a digest, an absolute path of at most 4095 "
				   "bytes and one NUL";
	size_t next = 0;
	size_t count = 0;

	for (; next < section->size; count++) {
		const uint8_t *path = section->at + next + PLAN_MODULE_SIZE;
		size_t left = section->size - next;
		size_t at = section->offset + next;
		const uint8_t *end = left <= PLAN_MODULE_SIZE ? NULL :
				     memchr(path, 0, left - PLAN_MODULE_SIZE);
		size_t size;

		if (count == PLAN_MAX_MODULES)
			return found_text(fault_at(fault, "modules",
						   "at most 256", at),
					  "more than 256");
		if (end == NULL || path[0] != '/' || end - path >= PLAN_MAX_PATH)
			return found_size(fault_at(fault, "modules.path", want,
						   at), left);
		size = PLAN_MODULE_SIZE + (size_t)(end - path) + 1;
		for (; size % 8 != 0; size++)
			if (size >= left || section->at[next + size] != 0)
				return found_size(fault_at(fault,
							   "modules.padding",
							   "zeros to a multiple "
							   "of 8", at), left);
		next += size;
	}
	plan->modules = section->at;
	plan->modules_size = section->size;
	return 0;
}

static int is_zero(const uint8_t *bytes, size_t size)
{
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++)
		any |= bytes[i];
	return any == 0;
}

int plan_read_network(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	const uint8_t *at = section->at;
	size_t offset = section->offset;
	uint32_t mode;
	uint32_t prefix;

	if (section->size != PLAN_NETWORK_SIZE)
		return found_size(fault_at(fault, "network", "32 bytes",
					   offset), section->size);
	mode = load32_le(at);
	prefix = load32_le(at + 8);
	if (mode != PLAN_DHCP && mode != PLAN_STATIC)
		return found_number(fault_at(fault, "network.mode",
					     "1 (DHCP) or 2 (static)", offset),
				    mode);
	if (mode == PLAN_DHCP && !is_zero(at + 4, 12))
		return found_text(fault_at(fault, "network.address",
					   "none with DHCP", offset + 4),
				  "an address, a prefix or a gateway");
	if (mode == PLAN_STATIC && (prefix == 0 || prefix > 32 ||
				    is_zero(at + 4, 4)))
		return found_number(fault_at(fault, "network.prefix",
					     "an address and 1 to 32 bits of it",
					     offset + 8), prefix);
	for (size_t i = 1; i < PLAN_DNS_SERVERS; i++)
		if (is_zero(at + 12 + 4 * i, 4) && !is_zero(at + 16 + 4 * i, 4))
			return found_number(fault_at(fault, "network.dns",
						     "servers without gaps",
						     offset + 16), i);
	if (load32_le(at + 28) != 0)
		return found_number(fault_at(fault, "network.reserved", "0",
					     offset + 28), load32_le(at + 28));
	plan->network = at;
	return 0;
}

int plan_read_hostname(const struct section *section, struct plan *plan,
		       struct plan_fault *fault)
{
	const char *name = (const char *)section->at;

	if (section->size > PLAN_MAX_HOSTNAME + 1 ||
	    memchr(name, 0, section->size) != name + section->size - 1 ||
	    !is_name(name, "-."))
		return found_bytes(fault_at(fault, "hostname",
					    "1 to 64 letters, digits, hyphens "
					    "and dots, and one NUL",
					    section->offset),
				   name, section->size);
	plan->hostname = name;
	return 0;
}

/* What each kind of channel has, and nothing else. */
static int read_place(const struct section *section, struct plan_fault *fault)
{
	const uint8_t *at = section->at;
	uint32_t kind = load32_le(at);
	uint32_t cid = load32_le(at + 12);
	uint32_t port = load32_le(at + 16);
	int has_address = !is_zero(at + 20, 4);
	size_t offset = section->offset;

	if (kind < PLAN_VIRTIO || kind > PLAN_TCP)
		return found_number(fault_at(fault, "channel.kind", "1 (virtio), "
					     "2 (vsock) or 3 (TCP)", offset),
				    kind);
	if ((kind == PLAN_VSOCK) != (cid != 0) || cid == UINT32_MAX)
		return found_number(fault_at(fault, "channel.cid", "1 to "
					     "4294967294 with vsock, else 0",
					     offset + 12), cid);
	if ((kind == PLAN_VIRTIO) != (port == 0) || port == UINT32_MAX ||
	    (kind == PLAN_TCP && port > 65535))
		return found_number(fault_at(fault, "channel.port", "a port with "
					     "vsock and TCP, else 0",
					     offset + 16), port);
	if ((kind == PLAN_TCP) != has_address)
		return found_number(fault_at(fault, "channel.address",
					     "one with TCP only", offset + 20),
				    (uint64_t)has_address);
	return 0;
}

/* Below a directory of its own, and nothing that leads elsewhere. */
static int is_secret_path(const char *path, size_t size)
{
	size_t parts = 0;

	if (size > PLAN_MAX_SECRET_PATH || path[0] != '/')
		return 0;
	while (*path == '/') {
		size_t length = strcspn(++path, "/");

		if (length == 0 || (path[0] == '.' && (length == 1 ||
		    (length == 2 && path[1] == '.'))))
			return 0;
		path += length;
		parts++;
	}
	return parts >= 2;
}

/* Two strings fill the rest. */
static int read_names(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	const char *name = (const char *)section->at + PLAN_CHANNEL_SIZE;
	size_t left = section->size - PLAN_CHANNEL_SIZE;
	size_t offset = section->offset + PLAN_CHANNEL_SIZE;
	const char *end = left == 0 ? NULL : memchr(name, 0, left);
	const char *path = end == NULL ? NULL : end + 1;
	size_t size = path == NULL ? 0 : left - (size_t)(path - name);

	if (size == 0 || memchr(path, 0, size) != path + size - 1)
		return found_size(fault_at(fault, "channel.names", "two strings, "
					   "each with one NUL", offset), left);
	if (load32_le(section->at) == PLAN_VIRTIO ?
	    end - name > PLAN_MAX_PORT_NAME || !is_name(name, "-._") :
	    end != name)
		return found_bytes(fault_at(fault, "channel.name", "1 to 63 "
					    "letters, digits, '-', '.' and '_' "
					    "with virtio, else nothing", offset),
				   name, (size_t)(end - name));
	if (size > 1 && !is_secret_path(path, size - 1))
		return found_bytes(fault_at(fault, "channel.secret", "a path in a "
					    "directory, at most 255 bytes and "
					    "without dots", offset), path,
				   size - 1);
	plan->channel_name = name;
	plan->secret_path = path;
	return 0;
}

int plan_read_channel(const struct section *section, struct plan *plan,
		      struct plan_fault *fault)
{
	const uint8_t *at = section->at;

	if (section->size < PLAN_CHANNEL_SIZE)
		return found_size(fault_at(fault, "channel", "64 bytes and two "
					   "strings", section->offset),
				  section->size);
	if (load32_le(at + 4) < PLAN_TSM || load32_le(at + 4) > PLAN_SIMULATED)
		return found_number(fault_at(fault, "channel.evidence", "1 (tsm), "
					     "2 (tpm) or 3 (simulated)",
					     section->offset + 4),
				    load32_le(at + 4));
	if (load32_le(at + 8) > 1)
		return found_number(fault_at(fault, "channel.plain", "0 or 1",
					     section->offset + 8),
				    load32_le(at + 8));
	if (load64_le(at + 24) != 0)
		return found_number(fault_at(fault, "channel.reserved", "0",
					     section->offset + 24),
				    load64_le(at + 24));
	if (is_zero(at + 32, 32))
		return found_text(fault_at(fault, "channel.key",
					   "an Ed25519 public key",
					   section->offset + 32), "zeros");
	if (read_place(section, fault) != 0 ||
	    read_names(section, plan, fault) != 0)
		return -1;
	plan->channel = at;
	return 0;
}

int plan_match_machine(const struct section sections[PLAN_KINDS + 1],
		       const struct plan *plan, struct plan_fault *fault)
{
	if (plan->channel != NULL && plan->network == NULL &&
	    load32_le(plan->channel) == PLAN_TCP)
		return found_text(fault_at(fault, "channel.kind",
					   "a network for TCP",
					   sections[PLAN_CHANNEL].offset),
				  "no network");
	return 0;
}
