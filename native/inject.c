/*
 * Calls that the held program's own thread makes for the launcher, at a syscall
 * instruction of the vDSO, one single step each.
 */
#include <string.h>

#include "load.h"
#include "steps.h"

_Static_assert(PLAN_MAX_FILTER * PLAN_INSTRUCTION_SIZE +
	       sizeof(struct uapi_sock_fprog) <= LAUNCH_CHUNK, "restore_program");

enum { TRAP = 5, FAULT = -14, BUSY = -16 };

int store_registers(int thread, const struct arch_registers *registers)
{
	struct arch_registers copy = *registers;
	struct iovec vector = { &copy, ARCH_CALL_REGISTERS };

	return (int)sys_ptrace(UAPI_PTRACE_SETREGSET, thread,
			       UAPI_NT_PRSTATUS, &vector);
}

static int start_call(struct launch_state *launch, uint64_t nr,
		      const uint64_t arguments[6])
{
	struct arch_registers registers = launch->held.registers;
	int error;

	arch_stage_call(&registers, launch->held.gate, nr, arguments);
	error = store_registers(launch->thread, &registers);
	return error < 0 ? error : resume(launch, UAPI_PTRACE_SINGLESTEP);
}

/*
 * Wait until the program stands behind the gate.  A SIGTRAP that somebody sent
 * looks like the end of a step, so the address decides, and is asked again a
 * few times at most.
 */
static int finish_call(struct launch_state *launch, int64_t *result)
{
	struct arch_registers registers;
	struct iovec vector = { &registers, ARCH_CALL_REGISTERS };
	int status;
	int error;

	for (int tries = 0; tries < 16; tries++) {
		error = await_stop(launch, UAPI_PTRACE_SINGLESTEP, &status);
		if (error < 0)
			return error;
		if ((status >> 8 & 0xff) != TRAP)
			break;
		if (status >> 16 == UAPI_PTRACE_EVENT_SECCOMP) {
			/* The filter of an earlier stage: this call is ours. */
			error = resume(launch, UAPI_PTRACE_SINGLESTEP);
			if (error < 0)
				return error;
			continue;
		}
		error = (int)sys_ptrace(UAPI_PTRACE_GETREGSET, launch->thread,
					UAPI_NT_PRSTATUS, &vector);
		if (error < 0)
			return error;
		if (registers.ip == launch->held.gate + ARCH_SYSCALL_SIZE) {
			*result = arch_call_result(&registers);
			return 0;
		}
		if (registers.ip != launch->held.gate)
			break;
		error = resume(launch, UAPI_PTRACE_SINGLESTEP);
		if (error < 0)
			return error;
	}
	return refuse(launch, "the program did not stop behind its call");
}

/* One single step at the gate.  Post: REGISTERS are those behind it. */
int step_to(struct launch_state *launch, uint64_t nr,
	    struct arch_registers *registers)
{
	static const uint64_t none[6];
	int status;
	int error = start_call(launch, nr, none);

	if (error == 0)
		error = await_stop(launch, UAPI_PTRACE_SINGLESTEP, &status);
	return error != 0 ? error : load_registers(launch->thread, registers);
}

int inject(struct launch_state *launch, uint64_t nr,
	   const uint64_t arguments[6], int64_t *result)
{
	int error = start_call(launch, nr, arguments);

	return error < 0 ? error : finish_call(launch, result);
}

/*
 * What is sealed cannot be unmapped, moved, made writable or replaced, so that
 * other code cannot take the place of what a pin names.
 */
int seal(struct launch_state *launch, uint64_t address, uint64_t size)
{
	enum { NO_SUCH_CALL = -38 };
	const uint64_t arguments[6] = { address, size };
	int64_t result;
	int error = inject(launch, UAPI_NR_mseal, arguments, &result);

	if (error != 0)
		return error;
	if (result == NO_SUCH_CALL &&
	    !(launch->plan->flags & PLAN_REQUIRE_SEALS)) {
		launch->result->unsealed = 1;
		return 0;
	}
	return (int)result;
}

int seal_program(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;
	const struct held *held = &launch->held;
	int error = 0;

	for (size_t i = 0; i < plan->sealed_count && error == 0 &&
	     !launch->result->unsealed; i++) {
		const uint8_t *entry = plan->sealed + i * PLAN_SEALED_SIZE;

		error = seal(launch, held->moved + load64_le(entry),
			     load64_le(entry + 8));
	}
	if (plan->sealed_count > 0 && error == 0 && !launch->result->unsealed)
		error = seal(launch, held->vdso, held->vdso_size);
	return error;
}

int refuse_exec_gain(struct launch_state *launch)
{
	static const uint64_t arguments[6] = {
		UAPI_PR_SET_MDWE, UAPI_PR_MDWE_REFUSE_EXEC_GAIN
	};
	enum { NO_SUCH_OPTION = -22 };
	int64_t result;
	int error;

	if (!(launch->plan->flags & PLAN_NO_EXEC_GAIN))
		return 0;
	error = inject(launch, SYS_prctl, arguments, &result);
	if (error != 0)
		return error;
	if (result == NO_SUCH_OPTION &&
	    !(launch->plan->flags & PLAN_REQUIRE_NO_EXEC_GAIN)) {
		launch->result->gains_exec = 1;
		return 0;
	}
	return (int)result;
}

/* Write HEAD, then TAIL, to the scratch room.  Does not grow the stack. */
static int write_scratch(struct launch_state *launch, const void *head,
			 size_t head_size, const void *tail, size_t tail_size)
{
	union {
		const void *read_only;
		void *unchanged;	/* process_vm_writev reads it */
	} first = { head }, second = { tail };
	struct iovec local[2] = { { first.unchanged, head_size },
				  { second.unchanged, tail_size } };
	struct iovec remote = { (void *)(uintptr_t)launch->held.scratch,
				launch->held.scratch_size };
	long done = sys_vm_writev(launch->pid, local, 2, &remote, 1);

	if (done >= 0 && (size_t)done != head_size + tail_size)
		return FAULT;
	return done < 0 ? (int)done : 0;
}

/*
 * Only the program's own accesses grow its stack: let it ask the kernel to
 * write 8 bytes, its pending signals, to the lowest address.
 */
static int grow_stack(struct launch_state *launch)
{
	const uint64_t arguments[6] = { launch->held.scratch, 8 };
	int64_t result;
	int error = inject(launch, SYS_rt_sigpending, arguments, &result);

	return error != 0 ? error : (int)result;
}

/* Write the filter, and what names it to the kernel, to the scratch room. */
int lend_program(struct launch_state *launch)
{
	struct uapi_sock_fprog program;

	memset(&program, 0, sizeof(program));
	program.len = (uint16_t)launch->filter_count;
	program.filter = launch->held.scratch + sizeof(program);
	return write_scratch(launch, &program, sizeof(program), launch->filter,
			     launch->filter_count * PLAN_INSTRUCTION_SIZE);
}

/*
 * The filter goes below the stack pointer.  The kernel leaves 128 KiB of room
 * there, less the tables of pointers that it puts on top (fs/exec.c,
 * setup_arg_pages, v6.18), and less still where RLIMIT_STACK is small.
 */
int lend_filter(struct launch_state *launch)
{
	struct held *held = &launch->held;
	int error;

	held->scratch_size = sizeof(struct uapi_sock_fprog) +
			     launch->filter_count * PLAN_INSTRUCTION_SIZE;
	held->scratch = (held->registers.sp - ARCH_RED_ZONE -
			 held->scratch_size) & ~(uint64_t)15;
	error = lend_program(launch);
	if (error == FAULT) {
		error = grow_stack(launch);
		if (error == 0)
			error = lend_program(launch);
	}
	if (error == FAULT)
		return refuse(launch, "the stack limit leaves no room for the "
			      "filter");
	return error;
}

/* Who is told of refused calls: the listener of the last filter. */
int has_listener(const struct launch_state *launch)
{
	return launch->stage == launch->plan->stage_count &&
	       !(launch->plan->flags & PLAN_NO_EVENTS);
}

/* From the first boundary on other threads may be there. */
int install_filter(struct launch_state *launch)
{
	uint64_t flags = (has_listener(launch) ?
			  UAPI_SECCOMP_FILTER_NEW_LISTENER |
			  UAPI_SECCOMP_FILTER_WAIT_KILLABLE_RECV : 0) |
			 (launch->stage > 0 ? UAPI_SECCOMP_FILTER_TSYNC |
			  UAPI_SECCOMP_FILTER_TSYNC_ESRCH : 0);
	const uint64_t arguments[6] = { UAPI_SECCOMP_SET_MODE_FILTER, flags,
					launch->held.scratch };
	int64_t result;
	int error = inject(launch, SYS_seccomp, arguments, &result);

	if (error != 0)
		return error;
	if (result == BUSY)
		return refuse(launch, "another listener exists: that of a "
			      "container's runtime or of another launch; "
			      "--no-events needs none");
	if (result < 0)
		return (int)result;
	launch->held.remote_listener = (int)result;
	return 0;
}

int take_listener(struct launch_state *launch)
{
	long fd;

	if (!has_listener(launch))
		return 0;
	fd = sys_pidfd_getfd(launch->pidfd, launch->held.remote_listener);
	if (fd < 0)
		return (int)fd;
	launch->listener = (int)fd;
	return 0;
}

/* The program waits in its call NR until the launcher says: go on. */
static int answer_own_call(struct launch_state *launch, uint64_t nr)
{
	union notification received;
	struct pollfd polled[2] = { { launch->listener, POLLIN, 0 },
				    { launch->pidfd, POLLIN, 0 } };
	long error = sys_ppoll(polled, 2, NULL);

	if (error < 0)
		return (int)error;
	if (polled[1].revents != 0)
		return -3; /* ESRCH: killed meanwhile */
	error = receive_call(launch, &received);
	if (error < 0)
		return (int)error;
	if ((int)received.call.pid != launch->thread ||
	    received.call.data.nr != (int)nr)
		return refuse(launch, "the filter reports a call that was not "
			      "made");
	return answer_call(launch, received.call.id, 0,
			   UAPI_SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* A call that already meets the filter, which is asked beforehand what it will
 * say. */
int inject_filtered(struct launch_state *launch, uint64_t nr,
		    const uint64_t arguments[6], int64_t *result)
{
	struct uapi_seccomp_data data = {
		(int32_t)nr, ARCH_AUDIT, launch->held.gate + ARCH_SYSCALL_SIZE,
		{ 0 },
	};
	uint32_t action;
	int error;

	memcpy(data.args, arguments, sizeof(data.args));
	action = bpf_run(launch->filter, launch->filter_count, &data) &
		 UAPI_SECCOMP_RET_ACTION_FULL;
	if (action != UAPI_SECCOMP_RET_ALLOW && action != UAPI_SECCOMP_RET_LOG &&
	    action != UAPI_SECCOMP_RET_TRACE &&
	    action != UAPI_SECCOMP_RET_USER_NOTIF)
		return refuse(launch, "the filter neither allows nor reports "
			      "the launcher's own calls");
	error = start_call(launch, nr, arguments);
	if (error == 0 && action == UAPI_SECCOMP_RET_USER_NOTIF)
		error = answer_own_call(launch, nr);
	return error != 0 ? error : finish_call(launch, result);
}

/*
 * The listener must not stay with the program, or it could answer its own
 * notifications.
 */
int close_listener(struct launch_state *launch)
{
	const struct arch_registers *rest = &launch->held.registers;
	const uint64_t arguments[6] = { (uint64_t)launch->held.remote_listener,
					rest->si, rest->dx, rest->r10, rest->r8,
					rest->r9 };
	int64_t result = 0;
	int error;

	if (!has_listener(launch))
		return 0;
	error = inject_filtered(launch, SYS_close, arguments, &result);
	return error != 0 ? error : (int)result;
}

/* Nothing below the stack pointer has been written since the kernel gave it
 * out, so what was there is zeros. */
int restore_program(struct launch_state *launch)
{
	uint8_t *zeros = launch->memory->chunk;
	size_t size = launch->held.scratch_size;
	int error;

	memset(zeros, 0, size);
	error = write_scratch(launch, zeros, size, zeros, 0);
	return error != 0 ? error :
			    store_registers(launch->thread, &launch->held.registers);
}
