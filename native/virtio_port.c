/* Ports of virtio-serial have names, which the host gives them. */
#include <string.h>

#include "channel.h"
#include "machine.h"
#include "sys.h"

#define PORTS "/sys/class/virtio-ports/"

struct entry {	/* struct linux_dirent64, linux/dirent.h */
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};
_Static_assert(offsetof(struct entry, name) == 19, "linux_dirent64");

/* Is the port DEVICE the one called NAME? */
static int is_called(const char *device, const char *name)
{
	char path[96];
	char found[PLAN_MAX_PORT_NAME + 2];
	struct text text = { path, sizeof(path), 0 };
	size_t size = strlen(name);
	long got;
	long fd;

	text_add(&text, PORTS);
	text_add(&text, device);
	text_add(&text, "/name");
	fd = sys_open(path, 02000000 /* O_RDONLY | O_CLOEXEC */);
	if (fd < 0)
		return 0;
	got = sys_read((int)fd, found, sizeof(found));
	sys_close((int)fd);
	return got == (long)size + 1 && memcmp(found, name, size) == 0 &&
	       found[size] == '\n';
}

/* Returns the file, or -errno; -ENOENT if there is no such port, or not yet. */
static long open_called(const char *name)
{
	enum { NO_ENTRY = -2, READ_WRITE_NONBLOCK = 02004002 };
	uint8_t bytes[1024] __attribute__((aligned(8)));
	char path[64];
	struct text text = { path, sizeof(path), 0 };
	long ports = sys_open(PORTS, 02200000 /* O_RDONLY | O_DIRECTORY |
					       * O_CLOEXEC */);
	long opened = NO_ENTRY;
	long got = 0;

	if (ports < 0)
		return ports;
	while (opened == NO_ENTRY &&
	       (got = sys3(SYS_getdents64, ports, (long)bytes,
			   sizeof(bytes))) > 0)
		for (long at = 0; at < got && opened == NO_ENTRY;) {
			const struct entry *entry =
				(const struct entry *)(const void *)(bytes + at);

			if (is_called(entry->name, name)) {
				text_add(&text, "/dev/");
				text_add(&text, entry->name);
				opened = sys_open(path, READ_WRITE_NONBLOCK);
			}
			at += entry->size;
		}
	sys_close((int)ports);
	return got < 0 ? got : opened;
}

/* The port says that it hangs up while nobody is there. */
static int has_other_side(int fd)
{
	static const struct timespec at_once = { 0, 0 };
	struct pollfd polled = { fd, POLLOUT, 0 };

	return sys_ppoll(&polled, 1, &at_once) == 1 &&
	       (polled.revents & (POLLOUT | POLLHUP)) == POLLOUT;
}

int virtio_port_open(const char *name, unsigned seconds, int *fd,
		     struct guest_fault *fault)
{
	enum { NO_ENTRY = -2 };
	uint64_t deadline = channel_now() + seconds * UINT64_C(1000000000);
	long opened = NO_ENTRY;

	while ((opened = open_called(name)) == NO_ENTRY) {
		if (channel_now() >= deadline)
			return guest_fault(fault, "open-channel",
					   "no virtio-serial port of that name",
					   name);
		machine_pause(1);
	}
	if (opened < 0)
		return machine_fault(fault, "open-channel", opened, name);
	*fd = (int)opened;
	while (!has_other_side(*fd)) {
		if (channel_now() >= deadline)
			return guest_fault(fault, "open-channel", "nobody at the "
					   "other end of the port", name);
		machine_pause(1);
	}
	return 0;
}
