/*
 * The system calls of the launcher, raw: each returns what the kernel returned,
 * a value or -errno.  libc's own wrappers write errno, and the child of
 * clone3(CLONE_VM) shares that with its parent.
 */
#ifndef SHIM_SYS_H
#define SHIM_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "arch.h"
#include "uapi.h"

static inline long sys0(long nr)
{
	return arch_syscall(nr, 0, 0, 0, 0, 0, 0);
}

static inline long sys1(long nr, long a)
{
	return arch_syscall(nr, a, 0, 0, 0, 0, 0);
}

static inline long sys2(long nr, long a, long b)
{
	return arch_syscall(nr, a, b, 0, 0, 0, 0);
}

static inline long sys3(long nr, long a, long b, long c)
{
	return arch_syscall(nr, a, b, c, 0, 0, 0);
}

static inline long sys_open(const char *path, int flags)
{
	return arch_syscall(SYS_openat, -100 /* AT_FDCWD */, (long)path, flags,
			    0, 0, 0);
}

static inline long sys_read(int fd, void *buffer, size_t size)
{
	return sys3(SYS_read, fd, (long)buffer, (long)size);
}

static inline long sys_write(int fd, const void *buffer, size_t size)
{
	return sys3(SYS_write, fd, (long)buffer, (long)size);
}

static inline long sys_close(int fd)
{
	return sys1(SYS_close, fd);
}

static inline long sys_prctl(long option, unsigned long a, unsigned long b)
{
	return arch_syscall(SYS_prctl, option, (long)a, (long)b, 0, 0, 0);
}

static inline _Noreturn void sys_exit(int status)
{
	for (;;)
		sys1(SYS_exit_group, status);
}

static inline long sys_wait4(int pid, int *status, int options)
{
	return arch_syscall(SYS_wait4, pid, (long)status, options, 0, 0, 0);
}

static inline long sys_ptrace(long request, int pid, unsigned long address,
			      const void *data)
{
	return arch_syscall(SYS_ptrace, request, pid, (long)address,
			    (long)data, 0, 0);
}

static inline long sys_sigmask(int how, const uint64_t *set, uint64_t *old)
{
	return arch_syscall(SYS_rt_sigprocmask, how, (long)set, (long)old,
			    sizeof(*set), 0, 0);
}

/* Returns a pending signal of SET, taken off, or -EAGAIN after TIMEOUT. */
static inline long sys_sigwait(const uint64_t *set,
			       const struct timespec *timeout)
{
	return arch_syscall(SYS_rt_sigtimedwait, (long)set, 0, (long)timeout,
			    sizeof(*set), 0, 0);
}

static inline long sys_sigaction(int signal, const struct uapi_sigaction *act,
				 struct uapi_sigaction *old)
{
	return arch_syscall(SYS_rt_sigaction, signal, (long)act, (long)old,
			    sizeof(act->mask), 0, 0);
}

static inline long sys_getaffinity(int pid, void *mask, size_t size)
{
	return sys3(SYS_sched_getaffinity, pid, (long)size, (long)mask);
}

static inline long sys_setaffinity(int pid, const void *mask, size_t size)
{
	return sys3(SYS_sched_setaffinity, pid, (long)size, (long)mask);
}

static inline long sys_futex(const uint32_t *word, int operation,
			     uint32_t value)
{
	return arch_syscall(SYS_futex, (long)word, operation, value, 0, 0, 0);
}

static inline long sys_pidfd_kill(int pidfd, int signal)
{
	return arch_syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0, 0, 0);
}

static inline long sys_pidfd_getfd(int pidfd, int fd)
{
	return sys3(SYS_pidfd_getfd, pidfd, fd, 0);
}

static inline long sys_ioctl(int fd, unsigned long request, void *argument)
{
	return sys3(SYS_ioctl, fd, (long)request, (long)argument);
}

static inline long sys_statx(int fd, unsigned mask, struct uapi_statx *facts)
{
	return arch_syscall(SYS_statx, fd, (long)"", UAPI_AT_EMPTY_PATH, mask,
			    (long)facts, 0);
}

/* Wait for any of COUNT polled files; TIMEOUT is null to wait for ever. */
static inline long sys_ppoll(struct pollfd *polled, size_t count,
			     const struct timespec *timeout)
{
	return arch_syscall(SYS_ppoll, (long)polled, (long)count,
			    (long)timeout, 0, 0, 0);
}

static inline long sys_vm_readv(int pid, const struct iovec *local,
				size_t locals, const struct iovec *remote,
				size_t remotes)
{
	return arch_syscall(SYS_process_vm_readv, pid, (long)local,
			    (long)locals, (long)remote, (long)remotes, 0);
}

static inline long sys_vm_writev(int pid, const struct iovec *local,
				 size_t locals, const struct iovec *remote,
				 size_t remotes)
{
	return arch_syscall(SYS_process_vm_writev, pid, (long)local,
			    (long)locals, (long)remote, (long)remotes, 0);
}

#endif
