/*
 * The program stands before its first instruction, and not one byte of it has
 * run.  Is it the file, and were its arguments, environment and auxiliary
 * vector, what the plan says?
 */
#include <string.h>

#include "load.h"
#include "sha256.h"
#include "steps.h"
#include "text.h"

enum { TRAP = 5, SYSCALL_STOP = TRAP | 0x80, STOP = 19 };

int let_child_exec(struct launch_state *launch)
{
	int status;
	int error;

	__atomic_store_n(&launch->child.go, 1, __ATOMIC_RELEASE);
	error = (int)sys_futex(&launch->child.go, UAPI_FUTEX_WAKE_PRIVATE, 1);
	if (error < 0)
		return error; /* it may sleep for ever */
	error = await_stop(launch, UAPI_PTRACE_CONT, &status);
	if (error < 0)
		return error;
	if (status >> 8 != (TRAP | UAPI_PTRACE_EVENT_EXEC << 8))
		return refuse(launch, "the child stopped before its exec");
	return 0;
}

int load_registers(int thread, struct arch_registers *registers)
{
	struct iovec vector = { registers, sizeof(*registers) };
	long error = sys_ptrace(UAPI_PTRACE_GETREGSET, thread,
				UAPI_NT_PRSTATUS, &vector);

	return (int)error;
}

/*
 * At the exec event the call's result is still to be written over whatever the
 * launcher would put there, so go on to where the call returns.
 */
int reach_first_instruction(struct launch_state *launch)
{
	struct held *held = &launch->held;
	int status;
	int error = resume_until_stop(launch, UAPI_PTRACE_SYSCALL, &status);

	if (error < 0)
		return error;
	if (status >> 8 != SYSCALL_STOP)
		return refuse(launch, "the program is not where exec returns");
	return load_registers(launch->thread, &held->registers);
}

int hash_file(struct launch_state *launch, int fd, uint8_t digest[32])
{
	enum { SMALL_PART = 2048 };
	uint8_t *chunk = launch->memory->chunk;
	sha256_blocks *compress = sha256_cpu_is_fast() ? sha256_blocks_fast
						       : sha256_blocks_portable;
	struct sha256 hash;
	size_t part = SMALL_PART;
	long size;

	/* Another read is cheaper than another page of the chunk, which is only
	 * worth its pages where the file is large. */
	sha256_begin(&hash, compress);
	while ((size = sys_read(fd, chunk, part)) > 0) {
		sha256_add(&hash, chunk, (size_t)size);
		if (hash.size >= LAUNCH_CHUNK)
			part = LAUNCH_CHUNK;
	}
	if (size < 0)
		return (int)size;
	sha256_end(&hash, digest);
	return 0;
}

/* NAME of the program's folder in /proc, for reading; FLAGS beside that. */
long open_proc(const struct launch_state *launch, const char *name, int flags)
{
	char path[96];
	struct text text = { path, sizeof(path), 0 };

	text_add(&text, "/proc/");
	text_add_decimal(&text, (uint64_t)launch->pid);
	text_add(&text, name);
	return sys_open(path, 02000000 /* O_RDONLY | O_CLOEXEC */ | flags);
}

int measure_file(struct launch_state *launch)
{
	enum { NO_ENTRY = -2 };
	uint8_t digest[PLAN_DIGEST_SIZE];
	int error;
	long fd = open_proc(launch, "/exe", 0);

	if (fd == NO_ENTRY)
		return refuse(launch, "/proc is not mounted, or is that of "
			      "another pid namespace");
	if (fd < 0)
		return (int)fd;
	error = hash_file(launch, (int)fd, digest);
	sys_close((int)fd);
	if (error < 0)
		return error;
	if (memcmp(digest, launch->plan->digest, sizeof(digest)) != 0)
		return refuse_digest(launch, digest);
	return 0;
}

/*
 * A part of the program's memory, copied to the launch's chunk, so that not each
 * word costs a call of the kernel.
 */
struct window {
	uint64_t address;
	size_t size;
};

/*
 * Returns SIZE bytes at ADDRESS of the program, or null with -errno in ERROR.
 * Valid until the next call.  Pre: SIZE is at most LAUNCH_CHUNK.
 */
static const uint8_t *view(struct launch_state *launch, struct window *window,
			   uint64_t address, size_t size, int *error)
{
	enum { AT_ONCE = 2 << 10, FAULT = -14 };
	uint64_t into = address - window->address;
	size_t wanted = size < AT_ONCE ? AT_ONCE : size;
	struct iovec local = { launch->memory->chunk, wanted };
	struct iovec remote = { (void *)(uintptr_t)address, wanted };
	long got;

	if (address >= window->address && into <= window->size &&
	    size <= window->size - into)
		return launch->memory->chunk + into;
	/* The stack may end before WANTED: a part that holds SIZE will do. */
	got = sys_vm_readv(launch->pid, &local, 1, &remote, 1);
	if (got < 0 || (size_t)got < size) {
		*error = got < 0 ? (int)got : FAULT;
		return NULL;
	}
	*window = (struct window){ address, (size_t)got };
	return launch->memory->chunk;
}

static int view_word(struct launch_state *launch, struct window *window,
		     uint64_t address, uint64_t *word)
{
	int error = 0;
	const uint8_t *bytes = view(launch, window, address, sizeof(*word),
				    &error);

	if (bytes != NULL)
		*word = load64_le(bytes);
	return error;
}

/* Are the SIZE bytes at ADDRESS of the program those at WANT? */
static int compare_memory(struct launch_state *launch, struct window *window,
			  uint64_t address, const char *want, size_t size,
			  const char *reason)
{
	while (size > 0) {
		size_t part = size < LAUNCH_CHUNK ? size : LAUNCH_CHUNK;
		int error = 0;
		const uint8_t *bytes = view(launch, window, address, part,
					    &error);

		if (bytes == NULL)
			return error;
		if (memcmp(bytes, want, part) != 0)
			return refuse(launch, reason);
		address += part;
		want += part;
		size -= part;
	}
	return 0;
}

/* Takes from the auxiliary vector at ADDRESS what the launch needs. */
static int read_auxiliary_vector(struct launch_state *launch,
				 struct window *window, uint64_t address)
{
	enum { MOST = 64 };	/* linux/auxvec.h, v6.18, has 38 kinds */
	uint64_t secure = 1;

	for (size_t i = 0; i < MOST; i++, address += 16) {
		uint64_t kind;
		uint64_t value;
		int error = view_word(launch, window, address, &kind);

		if (error == 0)
			error = view_word(launch, window, address + 8, &value);
		if (error < 0)
			return error;
		if (kind == UAPI_AT_SECURE)
			secure = value;
		if (kind == UAPI_AT_SYSINFO_EHDR)
			launch->held.vdso = value;
		if (kind == UAPI_AT_ENTRY)
			launch->held.entry = value;
		if (kind == UAPI_AT_NULL)
			return secure == 0 ? 0 :
			       refuse(launch, "AT_SECURE found 1, want 0");
	}
	return refuse(launch, "the auxiliary vector has no end");
}

/*
 * The strings that a list of COUNT pointers at ADDRESS leads to: they lie
 * without gaps in the order of the list, and a null closes it.
 */
static int check_strings(struct launch_state *launch, struct window *window,
			 uint64_t address, size_t count, const char *want,
			 size_t size, const char *reason)
{
	uint64_t first = 0;
	uint64_t last = 0;
	int error = view_word(launch, window, address, &first);

	if (error == 0)
		error = view_word(launch, window, address + 8 * count, &last);
	if (error == 0 && last != 0)
		return refuse(launch, reason);
	if (error != 0 || count == 0)
		return error;
	return compare_memory(launch, window, first, want, size, reason);
}

/*
 * The stack as execve leaves it: argc, the pointers of argv, a null, those of
 * the environment, a null, the auxiliary vector (fs/exec.c and
 * fs/binfmt_elf.c create_elf_tables, v6.18).
 */
int check_stack(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;
	uint64_t argv = launch->held.registers.sp + 8;
	uint64_t environment = argv + 8 * (plan->argc + 1);
	struct window window = { 0, 0 };
	uint64_t argc = 0;
	int error = view_word(launch, &window, argv - 8, &argc);

	if (error == 0 && argc != plan->argc)
		return refuse(launch, "the arguments are not the plan's");
	if (error == 0)
		error = check_strings(launch, &window, argv, plan->argc,
				      plan->argv, plan->argv_size,
				      "the arguments are not the plan's");
	if (error == 0)
		error = check_strings(launch, &window, environment,
				      plan->environment_count,
				      plan->environment, plan->environment_size,
				      "the environment is not the plan's");
	if (error != 0)
		return error;
	return read_auxiliary_vector(launch, &window, environment + 8 *
				     (plan->environment_count + 1));
}

/*
 * The vDSO is kernel code that every program has mapped: a syscall instruction
 * in it lets the program call without a page of ours inside.
 */
int find_gate(struct launch_state *launch)
{
	enum { PAGE = 4096, MOST_PAGES = 8 };
	const uint8_t *code = launch->memory->chunk;
	const uint8_t *found;
	uint64_t vdso = launch->held.vdso;

	if (vdso == 0)
		return refuse(launch, "the kernel maps no vDSO (vdso=0?)");
	/* Page by page: the instruction stands in the first or second, and
	 * each page costs a fault.  One that is cut by a page's end is no loss. */
	for (size_t page = 0; page < MOST_PAGES; page++) {
		uint64_t address = vdso + page * PAGE;
		struct iovec local = { launch->memory->chunk, PAGE };
		struct iovec remote = { (void *)(uintptr_t)address, PAGE };
		long size = sys_vm_readv(launch->pid, &local, 1, &remote, 1);

		if (size != PAGE)
			break;
		found = arch_find_syscall(code, PAGE);
		if (found == NULL)
			continue;
		launch->held.gate = address + (uint64_t)(found - code);
		return 0;
	}
	return refuse(launch, "the vDSO holds no syscall instruction");
}

/*
 * SIGCHLD has been sent for each stop of the held program.  Taken off before
 * the release, it cannot hide a stop that comes after it.
 */
static void forget_own_stops(const struct launch_state *launch)
{
	static const uint64_t child_status = UINT64_C(1) << (17 /* SIGCHLD */ - 1);
	static const struct timespec at_once;

	if (launch->options & LAUNCH_OWN_PROCESS)
		sys_sigwait(&child_status, &at_once);
}

/* Somebody's SIGSTOP came while the program was held. */
int stop_again(struct launch_state *launch)
{
	if (!launch->held.stop_wanted)
		return 0;
	launch->held.stop_wanted = 0;
	return (int)sys_pidfd_kill(launch->pidfd, STOP);
}

int let_go(struct launch_state *launch)
{
	static const uint64_t none;
	long error;

	forget_own_stops(launch);
	error = sys_ptrace(UAPI_PTRACE_SETSIGMASK, launch->pid, sizeof(none),
			   &none);

	if (error == 0)
		error = stop_again(launch);
	if (error < 0)
		return (int)error;
	if (launch->plan->stage_count > 0)
		return follow(launch);
	return (int)sys_ptrace(UAPI_PTRACE_DETACH, launch->pid, 0, NULL);
}
