/* Where the program finds its secret, and nobody else. */
#include <string.h>

#include "load.h"
#include "machine.h"
#include "sys.h"
#include "uapi.h"

enum { EXISTS = -17, INVALID = -22 };

static long write_all(int fd, const uint8_t *bytes, size_t size)
{
	size_t done = 0;

	while (done < size) {
		long wrote = sys_write(fd, bytes + done, size - done);

		if (wrote <= 0)
			return wrote < 0 ? wrote : -5 /* EIO */;
		done += (size_t)wrote;
	}
	return 0;
}

/* Returns a file that nobody can change or execute, read from its start. */
static long seal(const uint8_t *secret, size_t size)
{
	enum { CLOSE_ON_EXEC = 1, ALLOW_SEALING = 2, NO_EXEC_SEAL = 8,
	       ADD_SEALS = 1033, SEALS = 0xf /* seal, shrink, grow, write */ };
	long fd = sys2(SYS_memfd_create, (long)"secret", CLOSE_ON_EXEC |
		       ALLOW_SEALING | NO_EXEC_SEAL);
	long error;

	if (fd == INVALID) /* before v6.3 */
		fd = sys2(SYS_memfd_create, (long)"secret",
			  CLOSE_ON_EXEC | ALLOW_SEALING);
	if (fd < 0)
		return fd;
	error = write_all((int)fd, secret, size);
	if (error == 0)
		error = sys3(SYS_lseek, fd, 0, 0 /* SEEK_SET */);
	if (error == 0)
		error = sys3(SYS_fcntl, fd, ADD_SEALS, SEALS);
	return error < 0 ? error : fd;
}

/* Make what is missing of the directory that PATH is in, which stays in FOLDER.
 * Returns 0 or -errno. */
static long make_folder(const char *path, char folder[PLAN_MAX_SECRET_PATH + 1])
{
	size_t size = (size_t)(strrchr(path, '/') - path);
	long error = 0;

	for (size_t at = 1; at <= size && error == 0; at++) {
		if (path[at] != '/')
			continue;
		memcpy(folder, path, at);
		folder[at] = 0;
		error = sys3(SYS_mkdirat, -100 /* AT_FDCWD */, (long)folder,
			     0755);
		error = error == EXISTS ? 0 : error;
	}
	return error;
}

/* Who runs the program; root unless the plan says otherwise. */
static long give(const char *path, const uint8_t *identity)
{
	if (identity == NULL)
		return 0;
	return arch_syscall(SYS_fchownat, -100 /* AT_FDCWD */, (long)path,
			    load32_le(identity), load32_le(identity + 4), 0, 0);
}

/* A file system in memory of its own, with nothing else in it, read-only in the
 * end. */
static long write_file(const struct plan *plan, const uint8_t *secret,
		       size_t size, const char **step)
{
	enum { FLAGS = UAPI_MS_NOSUID | UAPI_MS_NODEV | UAPI_MS_NOEXEC,
	       READ_ONLY = 1, REMOUNT = 32, CREATE_NEW = 02000301 };
	char folder[PLAN_MAX_SECRET_PATH + 1];
	long error = make_folder(plan->secret_path, folder);
	long fd;

	*step = "make-secret-folder";
	if (error < 0)
		return error;
	*step = "mount-secret";
	error = arch_syscall(SYS_mount, (long)"tmpfs", (long)folder,
			     (long)"tmpfs", FLAGS,
			     (long)"size=128k,nr_inodes=2,mode=0500", 0);
	if (error == 0)
		error = give(folder, plan->identity);
	if (error < 0)
		return error;
	*step = "write-secret";
	fd = arch_syscall(SYS_openat, -100 /* AT_FDCWD */,
			  (long)plan->secret_path, CREATE_NEW, 0400, 0, 0);
	if (fd < 0)
		return fd;
	error = write_all((int)fd, secret, size);
	sys_close((int)fd);
	if (error == 0)
		error = give(plan->secret_path, plan->identity);
	if (error == 0)
		error = arch_syscall(SYS_mount, (long)"tmpfs", (long)folder,
				     (long)"tmpfs", FLAGS | READ_ONLY | REMOUNT,
				     0, 0);
	return error;
}

int secret_deliver(const struct plan *plan, const uint8_t *secret, size_t size,
		   int *fd, struct guest_fault *fault)
{
	const char *step = "seal-secret";
	long error;

	*fd = -1;
	if (plan->secret_path[0] != 0)
		error = write_file(plan, secret, size, &step);
	else
		error = seal(secret, size);
	if (error < 0)
		return machine_fault(fault, step, error,
				     "a place for the secret");
	if (plan->secret_path[0] == 0)
		*fd = (int)error;
	return 0;
}
