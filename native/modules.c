/*
 * The kernel reads a module from the file that was hashed.  Nobody can change it
 * in between: it lies in memory, and this is the only process.
 */
#include <string.h>

#include "machine.h"
#include "sha256.h"
#include "sys.h"

enum { EXISTS = -17, NO_ENTRY = -2, NO_DEVICE = -19 };

/* What a message shows of a path: its end, which names the module. */
static int module_fault(struct guest_fault *fault, const uint8_t *entry,
			const char *found, const char *want)
{
	enum { SHOWN = 24 };
	const char *path = (const char *)entry + PLAN_MODULE_SIZE;
	const char *name = strrchr(path, '/') + 1;
	size_t size = strlen(name);
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = "load-modules";
	fault->want = want;
	text_add_quoted(&text, name, size < SHOWN ? size : SHOWN);
	text_add(&text, ": ");
	text_add(&text, found);
	return -1;
}

/* Returns 0, or -errno. */
static long hash(int fd, uint8_t *room, size_t size, uint8_t digest[SHA256_SIZE])
{
	struct sha256 sum;
	long got;

	sha256_begin(&sum, sha256_cpu_is_fast() ? sha256_blocks_fast
						: sha256_blocks_portable);
	while ((got = sys_read(fd, room, size)) > 0)
		sha256_add(&sum, room, (size_t)got);
	sha256_end(&sum, digest);
	return got;
}

static int load(const uint8_t *entry, int fd, uint8_t *room, size_t size,
		struct guest_fault *fault)
{
	uint8_t digest[SHA256_SIZE];
	long error = hash(fd, room, size, digest);

	if (error < 0)
		return module_fault(fault, entry, strerror((int)-error),
				    "a file that can be read");
	if (memcmp(digest, entry, sizeof(digest)) != 0)
		return module_fault(fault, entry, "another digest",
				    "the module of the plan");
	error = sys3(SYS_finit_module, fd, (long)"", 0);
	/* Another module may have brought it: the digest was checked.  Drivers
	 * of several TEEs are in one image, and of one in each machine: that
	 * none is there is seen where its evidence is asked for. */
	if (error < 0 && error != EXISTS && error != NO_DEVICE)
		return module_fault(fault, entry, strerror((int)-error),
				    "a module that this kernel takes");
	return 0;
}

int modules_load(const struct plan *plan, uint8_t *room, size_t room_size,
		 struct guest_fault *fault)
{
	size_t at = 0;
	int error = 0;

	while (error == 0 && at < plan->modules_size) {
		const uint8_t *entry = plan->modules + at;
		long fd = sys_open((const char *)entry + PLAN_MODULE_SIZE,
				   02000000 /* O_RDONLY | O_CLOEXEC */);

		if (fd < 0)
			return module_fault(fault, entry, strerror((int)-fd),
					    "a file of the image");
		error = load(entry, (int)fd, room, room_size, fault);
		sys_close((int)fd);
		at += plan_module_size(entry);
	}
	return error;
}

/* As the command line of images has it: to switch it off takes the kernel 20 ms. */
static int sysrq_is_off(void)
{
	char value[2] = { 0 };
	long fd = sys_open("/proc/sys/kernel/sysrq",
			   02000000 /* O_RDONLY | O_CLOEXEC */);
	long got;

	if (fd < 0)
		return 0;
	got = sys_read((int)fd, value, sizeof(value));
	sys_close((int)fd);
	return got == 2 && value[0] == '0' && value[1] == '\n';
}

/* A kernel without modules has no such file, and one without that key no such
 * other. */
int modules_end(struct guest_fault *fault)
{
	long error = machine_write("/proc/sys/kernel/modules_disabled", "1");

	if (error < 0 && error != NO_ENTRY)
		return machine_fault(fault, "end-modules", error,
				     "no further modules");
	if (sysrq_is_off())
		return 0;
	error = machine_write("/proc/sys/kernel/sysrq", "0");
	if (error < 0 && error != NO_ENTRY)
		return machine_fault(fault, "end-sysrq", error,
				     "no commands to the kernel by key");
	return 0;
}
