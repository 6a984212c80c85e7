/* A launch in progress, as the files that make it up share it. */
#ifndef SHIM_STEPS_H
#define SHIM_STEPS_H

#include "launch.h"
#include "sys.h"

/* Returned by a step that has written its own reason; else -errno, or 0. */
#define REFUSED 1

#define CPU_WORDS 128	/* 8192 CPUs, CONFIG_NR_CPUS of large kernels */

/* Shared with the child through the memory both run in, until it execs. */
struct child {
	const struct plan *plan;
	const struct launch_machine *machine;	/* or null */
	char **argv;
	char **environment;
	int launcher;		/* its pid */
	uint32_t go;		/* futex: 1 once the child is traced */
	const char *step;	/* the one that failed, or null */
	long error;		/* its -errno */
	uint32_t unconfined;	/* what Landlock handles less than the plan says */
};

struct held {
	struct arch_registers registers;	/* at the first instruction */
	uint64_t entry;		/* AT_ENTRY: the program's own first instruction */
	uint64_t vdso;		/* AT_SYSINFO_EHDR */
	uint64_t vdso_size;	/* in bytes, if the plan moves anything */
	uint64_t moved;		/* how far the program is from its file's addresses */
	uint64_t gate;		/* address of a syscall instruction in it */
	uint64_t scratch;	/* address of what is borrowed of its stack */
	size_t scratch_size;
	int remote_listener;	/* its number in the program */
	uint64_t mask;		/* signals it had blocked */
	int stop_wanted;	/* somebody sent SIGSTOP meanwhile */
};

struct launch_state {
	const struct plan *plan;
	const uint8_t *filter;	/* the plan's, or what it is relocated to */
	size_t filter_count;	/* instructions */
	const uint8_t *relocations;
	size_t relocation_count;
	struct launch_memory *memory;
	struct launch_result *result;
	launch_on_violation *on_violation;
	void *context;
	uint32_t options;
	const struct launch_machine *machine;	/* or null */
	struct child child;
	struct held held;
	int pid;
	int thread;		/* that is held */
	size_t stage;		/* boundaries passed */
	int following;		/* traced until the last of them */
	int found;		/* a thread that was traced, while they are let go */
	const char *within;	/* what of a boundary is being done, or null */
	int pidfd;
	int init;		/* pid of the init of a namespace for the program */
	int init_pidfd;
	int cgroup_parent;	/* directory that the plan names, or -1 */
	int cgroup;		/* directory in it, the program's own, or -1 */
	int listener;
	int ended;		/* reaped, and STATUS is its wait status */
	int status;
	uint64_t mask;		/* of the caller */
	int masked;
	unsigned long cpus[CPU_WORDS];	/* of the caller */
	size_t cpus_size;	/* bytes; 0 when not narrowed */
};

struct step {
	const char *name;
	int (*run)(struct launch_state *launch);
};

/* prepare.c: before there is a child, and its birth */
int require_machine(struct launch_state *launch);
int prove_filter(struct launch_state *launch);
int prove_chosen(struct launch_state *launch, size_t stage);
int lay_out_strings(struct launch_state *launch);
int block_signals(struct launch_state *launch);
int require_child_status(struct launch_state *launch);
int share_one_cpu(struct launch_state *launch);
int spawn_child(struct launch_state *launch);
int seize_child(struct launch_state *launch);

/* namespace.c: processes of the program's own */
int start_init(struct launch_state *launch);
int enter_pid_namespace(struct launch_state *launch);
int leave_pid_namespace(struct launch_state *launch);
void end_init(struct launch_state *launch);
long unshare_namespaces(struct child *child);

/* cgroup.c: limits on all that the program starts */
int make_cgroup(struct launch_state *launch);
void end_cgroup(struct launch_state *launch);
int hide_launcher(struct launch_state *launch);
int return_cpus(struct launch_state *launch);

/* child.c: in the child, until it becomes the program */
void child_main(void *child);

/* confine.c: what the child may reach of the file system and the network */
long confine(struct child *child);

/* hold.c: while the program stands before its first instruction */
int let_child_exec(struct launch_state *launch);
int reach_first_instruction(struct launch_state *launch);
int measure_file(struct launch_state *launch);
int check_stack(struct launch_state *launch);
int find_gate(struct launch_state *launch);

int let_go(struct launch_state *launch);
int stop_again(struct launch_state *launch);
int load_registers(int thread, struct arch_registers *registers);
long open_proc(const struct launch_state *launch, const char *name, int flags);
int hash_file(struct launch_state *launch, int fd, uint8_t digest[32]);

/* relocate.c: what depends on where the kernel has put things */
void choose_filter(struct launch_state *launch, size_t stage);
int find_moved(struct launch_state *launch);
int relocate_filter(struct launch_state *launch);

/* objects.c: what the loader has mapped */
int measure_objects(struct launch_state *launch);

/* stage.c: from one boundary to the next */
int try_breakpoint(struct launch_state *launch);
int follow(struct launch_state *launch);
int enter_stage(struct launch_state *launch, int thread);
int is_boundary(const struct launch_state *launch, int thread);
int arm_boundary(const struct launch_state *launch, int thread);

/* threads.c: all threads of a traced program */
typedef int on_thread(struct launch_state *launch, int thread);
int for_each_thread(struct launch_state *launch, on_thread *act);
int follow_stops(struct launch_state *launch);
int release_threads(struct launch_state *launch);
int rearm_threads(struct launch_state *launch);
void bury_threads(struct launch_state *launch);

/* inject.c: calls that the held program makes on the launcher's behalf */
int seal_program(struct launch_state *launch);
int refuse_exec_gain(struct launch_state *launch);
int lend_filter(struct launch_state *launch);
int install_filter(struct launch_state *launch);
int take_listener(struct launch_state *launch);
int close_listener(struct launch_state *launch);
int restore_program(struct launch_state *launch);
int has_listener(const struct launch_state *launch);
int seal(struct launch_state *launch, uint64_t address, uint64_t size);
int inject(struct launch_state *launch, uint64_t nr,
	   const uint64_t arguments[6], int64_t *result);
int inject_filtered(struct launch_state *launch, uint64_t nr,
		    const uint64_t arguments[6], int64_t *result);
int step_to(struct launch_state *launch, uint64_t nr,
	    struct arch_registers *registers);
int lend_program(struct launch_state *launch);
int store_registers(int thread, const struct arch_registers *registers);

/*
 * stops.c: REQUEST is how the program goes on.  Each returns 0, or -errno with
 * ESRCH if the program is no more, and then it is reaped.
 */
int resume(struct launch_state *launch, long request);
int await_stop(struct launch_state *launch, long request, int *status);
int resume_until_stop(struct launch_state *launch, long request, int *status);

/* notify.c: a call that the filter reports waits for its answer */
union notification {	/* a newer kernel may write more than we know */
	struct uapi_seccomp_notif call;
	uint8_t room[512];
};
int receive_call(struct launch_state *launch, union notification *received);
int answer_call(struct launch_state *launch, uint64_t id, int error,
		uint32_t flags);

/* supervise.c: until the program's end */
int supervise(struct launch_state *launch);
int reap_program(struct launch_state *launch);
void note_end(struct launch_state *launch, int status);
void kill_program(struct launch_state *launch);
void stop_launcher(struct launch_state *launch);
void end_program(struct launch_state *launch);

/* violation.c: a call that the filter refused */
int report_call(struct launch_state *launch,
		const struct uapi_seccomp_notif *notification);
int receive_violation(struct launch_state *launch);

/* reason.c */
int refuse(struct launch_state *launch, const char *reason);
int refuse_digest(struct launch_state *launch, const uint8_t found[32]);
int refuse_object(struct launch_state *launch, const char *words,
		  const char *path);
int refuse_instruction(struct launch_state *launch, size_t at,
		       const char *want);

#endif
