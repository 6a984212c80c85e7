/*
 * From one boundary to the next: the thread that reaches it is held, what the
 * loader mapped is measured, and the next filter is installed for all threads by
 * injection.  The program is traced until the last boundary.
 */
#include <string.h>

#include "faults.h"
#include "load.h"
#include "steps.h"

/* What is lent: a filter, and a page for what names it. */
enum { LENT_SIZE = PLAN_MAX_FILTER * PLAN_INSTRUCTION_SIZE + PLAN_PAGE };
enum { NO_SUCH_PROCESS = -3 };

static uint64_t next_boundary(const struct launch_state *launch)
{
	return launch->held.moved +
	       load64_le(launch->plan->stages + launch->stage * PLAN_STAGE_SIZE);
}

static int poke(int thread, unsigned long offset, uint64_t value)
{
	return (int)sys_ptrace(UAPI_PTRACE_POKEUSER, thread, offset,
			       (const void *)(uintptr_t)value);
}

/* No byte of the text changes, so that a forked process does not stumble over a
 * breakpoint that nobody handles. */
static int set_breakpoint(int thread, uint64_t address)
{
	int error = poke(thread, ARCH_USER_BREAKPOINT, address);

	if (error < 0)
		return error;
	return poke(thread, ARCH_USER_BREAKPOINT_CONTROL, ARCH_BREAKPOINT_ON);
}

int arm_boundary(const struct launch_state *launch, int thread)
{
	int error = poke(thread, ARCH_USER_BREAKPOINT_CONTROL, 0);

	if (error < 0 || launch->stage == launch->plan->stage_count ||
	    launch->result->missed)
		return error;
	return set_breakpoint(thread, next_boundary(launch));
}

/*
 * A virtual machine may take breakpoints and never stop at them, as confidential
 * ones do.  Tried where it can do no harm: at a call that one step either does
 * or does not get over.
 */
int try_breakpoint(struct launch_state *launch)
{
	enum { NO_DEVICE = -19 };
	struct arch_registers registers;
	int error;

	if (launch->plan->stage_count == 0)
		return 0;
	error = set_breakpoint(launch->pid, launch->held.gate);
	if (error == 0) {
		error = step_to(launch, SYS_getpid, &registers);
		if (error != 0)
			return error;
		error = poke(launch->pid, ARCH_USER_BREAKPOINT_CONTROL, 0);
		if (error == 0 && registers.ip != launch->held.gate)
			error = NO_DEVICE;
	}
	if (error != 0 && launch->plan->object_count > 0)
		return refuse(launch, "no hardware breakpoint: what the loader "
			      "maps cannot be measured");
	launch->result->missed = error;
	return 0;
}

/* Pre: THREAD has been stopped by SIGTRAP.  Is that our breakpoint?  Returns 1,
 * 0, or -errno. */
int is_boundary(const struct launch_state *launch, int thread)
{
	struct arch_registers registers;
	int error = load_registers(thread, &registers);

	if (error != 0)
		return error == NO_SUCH_PROCESS ? 0 : error;
	return launch->stage < launch->plan->stage_count &&
	       registers.ip == next_boundary(launch);
}

int follow(struct launch_state *launch)
{
	int error = (int)sys_ptrace(UAPI_PTRACE_SETOPTIONS, launch->pid, 0,
				    (void *)(UAPI_PTRACE_O_EXITKILL |
					     UAPI_PTRACE_O_TRACECLONE |
					     UAPI_PTRACE_O_TRACEEXEC |
					     UAPI_PTRACE_O_TRACESECCOMP |
					     UAPI_PTRACE_O_TRACESYSGOOD));

	if (error == 0)
		error = arm_boundary(launch, launch->pid);
	if (error < 0)
		return error;
	launch->following = 1;
	return resume(launch, UAPI_PTRACE_CONT);
}

static int seal_objects(struct launch_state *launch)
{
	const struct plan *plan = launch->plan;
	int error = 0;

	for (size_t i = 0; i < plan->object_seal_count && error == 0 &&
	     !launch->result->unsealed; i++) {
		const uint8_t *entry = plan->object_seals +
				       i * PLAN_OBJECT_SEAL_SIZE;

		error = seal(launch, launch->memory->objects[load32_le(entry)] +
			     load64_le(entry + 8), load64_le(entry + 16));
	}
	return error;
}

/* A stack of the program's may be small and have other things below it, so the
 * filter is lent to it on pages of their own. */
static int lend_pages(struct launch_state *launch)
{
	struct held *held = &launch->held;
	const uint64_t arguments[6] = {
		0, LENT_SIZE,
		3 /* PROT_READ | PROT_WRITE */,
		0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, UINT64_MAX, 0,
	};
	int64_t result;
	int error = inject(launch, SYS_mmap, arguments, &result);

	if (error != 0)
		return error;
	if (result < 0 && result >= -4095)
		return (int)result;
	held->scratch = (uint64_t)result;
	held->scratch_size = sizeof(struct uapi_sock_fprog) +
			     launch->filter_count * PLAN_INSTRUCTION_SIZE;
	return lend_program(launch);
}

static int take_pages_back(struct launch_state *launch)
{
	const uint64_t arguments[6] = { launch->held.scratch, LENT_SIZE };
	int64_t result = 0;
	int error = inject_filtered(launch, SYS_munmap, arguments, &result);

	return error != 0 ? error : (int)result;
}

static int change_mask(const struct launch_state *launch, long request,
		       uint64_t *mask)
{
	return (int)sys_ptrace(request, launch->thread, sizeof(*mask), mask);
}

/* While it is held no signal shall divert it. */
static int hold_thread(struct launch_state *launch, int thread)
{
	uint64_t all = UINT64_MAX;
	int error;

	launch->thread = thread;
	error = load_registers(thread, &launch->held.registers);
	if (error == 0)
		error = change_mask(launch, UAPI_PTRACE_GETSIGMASK,
				    &launch->held.mask);
	return error != 0 ? error :
			    change_mask(launch, UAPI_PTRACE_SETSIGMASK, &all);
}

static int give_thread_back(struct launch_state *launch)
{
	int error = change_mask(launch, UAPI_PTRACE_SETSIGMASK,
				&launch->held.mask);

	return error != 0 ? error :
			    store_registers(launch->thread,
					    &launch->held.registers);
}

/*
 * Threads that cannot be brought under the next filter keep the one they have,
 * and all others with them.
 */
static int tighten(struct launch_state *launch)
{
	int error;

	choose_filter(launch, launch->stage);
	error = relocate_filter(launch);
	if (error == 0)
		error = lend_pages(launch);
	if (error != 0)
		return error;
	error = install_filter(launch);
	if (error == NO_SUCH_PROCESS && !launch->ended) {
		launch->result->missed = error;
		launch->stage--;
		choose_filter(launch, launch->stage);
		error = relocate_filter(launch);
	} else if (error == 0) {
		error = take_listener(launch);
		if (error == 0)
			error = close_listener(launch);
	}
	return error != 0 ? error : take_pages_back(launch);
}

static void begin(struct launch_state *launch, const char *part)
{
	launch->within = part;
	fault_point(part, launch->pid);
}

int enter_stage(struct launch_state *launch, int thread)
{
	int error;

	begin(launch, "hold-thread");
	error = hold_thread(launch, thread);
	if (error == 0 && launch->stage == 0 && launch->plan->object_count > 0) {
		begin(launch, "measure-objects");
		error = measure_objects(launch);
		if (error != 0)
			return error;
		begin(launch, "seal-objects");
		error = seal_objects(launch);
	}
	if (error != 0)
		return error;
	launch->stage++;
	begin(launch, "tighten-filter");
	error = tighten(launch);
	if (error == 0)
		error = give_thread_back(launch);
	if (error != 0)
		return error;
	launch->result->stages = (int32_t)launch->stage;
	begin(launch, "let-threads-go");
	error = stop_again(launch);
	if (error != 0)
		return error;
	error = launch->stage == launch->plan->stage_count ?
			release_threads(launch) : rearm_threads(launch);
	if (error == 0)
		launch->within = NULL;
	return error;
}
