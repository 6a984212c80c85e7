/*
 * Ask the running kernel what a filter answers.
 *
 * Standard input holds requests, standard output gets one reply for each; all numbers are little endian.
 *
 *   request: u32 instruction count, u32 call count, the instructions, the calls
 *   call:    u32 entry (0 syscall, 1 int 0x80), u32 reserved, u64 number, u64 arguments[6]
 *   reply:   i32 errno of the installation, u32 call count, then for each call
 *            i32 kind (0 returned, 1 killed by a signal), i32 reserved, i64 return value or signal
 *
 * Every request runs in a child of its own.  A call's result goes to shared memory, and the child ends by an
 * undefined instruction: neither needs a syscall, so the filter under test may refuse all of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct call {
	uint32_t entry;
	uint32_t reserved;
	uint64_t number;
	uint64_t arguments[6];
};

struct result {
	int32_t kind;
	int32_t reserved;
	int64_t value;
};

struct shared {
	volatile int32_t install_errno;
	volatile uint32_t done;
	struct result results[];
};

enum { RETURNED = 0, SIGNALLED = 1 };

static void read_all(void *to, size_t size)
{
	if (size != 0 && fread(to, size, 1, stdin) != 1)
		exit(3);
}

static int64_t enter_64(const struct call *call)
{
	register uint64_t r10 __asm__("r10") = call->arguments[3];
	register uint64_t r8 __asm__("r8") = call->arguments[4];
	register uint64_t r9 __asm__("r9") = call->arguments[5];
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value)
			 : "a"(call->number), "D"(call->arguments[0]), "S"(call->arguments[1]),
			   "d"(call->arguments[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return value;
}

static int64_t enter_32(const struct call *call)
{
	int64_t value;

	__asm__ volatile("int $0x80"
			 : "=a"(value)
			 : "a"(call->number), "b"(call->arguments[0]), "c"(call->arguments[1]),
			   "d"(call->arguments[2]), "S"(call->arguments[3]), "D"(call->arguments[4])
			 : "r8", "r9", "r10", "r11", "memory");
	return value;
}

static _Noreturn void child(struct shared *shared, struct sock_fprog *program, const struct call *calls,
			    uint32_t count)
{
	const struct rlimit no_core = {0, 0};

	if (setrlimit(RLIMIT_CORE, &no_core) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		_exit(4);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) != 0) {
		shared->install_errno = errno;
		_exit(0);
	}
	shared->install_errno = 0;
	while (shared->done < count) {
		const struct call *call = &calls[shared->done];
		int64_t value = call->entry == 0 ? enter_64(call) : enter_32(call);

		shared->results[shared->done].kind = RETURNED;
		shared->results[shared->done].value = value;
		shared->done++;
	}
	__builtin_trap();
}

/* A call that kills its child is the last of that child; the next child goes on behind it. */
static void answer(struct shared *shared, struct sock_fprog *program, const struct call *calls, uint32_t count)
{
	shared->install_errno = -1;
	shared->done = 0;
	do {
		int status;
		pid_t pid = fork();

		if (pid < 0)
			exit(5);
		if (pid == 0)
			child(shared, program, calls, count);
		if (waitpid(pid, &status, 0) != pid)
			exit(6);
		if (shared->install_errno != 0)
			return;
		if (shared->done < count) {
			shared->results[shared->done].kind = SIGNALLED;
			shared->results[shared->done].value = WIFSIGNALED(status) ? WTERMSIG(status) : -1;
			shared->done++;
		}
	} while (shared->done < count);
}

int main(void)
{
	uint32_t header[2];

	while (fread(header, sizeof(header), 1, stdin) == 1) {
		struct sock_filter *filter = calloc(header[0] + 1, sizeof(*filter));
		struct call *calls = calloc(header[1] + 1, sizeof(*calls));
		size_t size = sizeof(struct shared) + (header[1] + 1) * sizeof(struct result);
		struct shared *shared =
			mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		struct sock_fprog program = {.len = (unsigned short)header[0], .filter = filter};

		if (filter == NULL || calls == NULL || shared == MAP_FAILED)
			return 7;
		read_all(filter, header[0] * sizeof(*filter));
		read_all(calls, header[1] * sizeof(*calls));
		answer(shared, &program, calls, header[1]);
		int32_t errno_of_install = shared->install_errno;
		uint32_t answered = errno_of_install == 0 ? header[1] : 0;

		fwrite(&errno_of_install, sizeof(errno_of_install), 1, stdout);
		fwrite(&answered, sizeof(answered), 1, stdout);
		fwrite(shared->results, sizeof(struct result), answered, stdout);
		free(filter);
		free(calls);
		munmap(shared, size);
	}
	return fflush(stdout) == 0 ? 0 : 8;
}
