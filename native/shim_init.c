/*
 * shim-init: the first process of a machine that is more than its program.  One
 * list of steps, none of them optional, none undone: a step that fails ends the
 * machine, and the program has not run.  Arguments and environment are the
 * kernel's command line, and are not looked at.
 */
#define _GNU_SOURCE /* explicit_bzero */
#include <string.h>

#include "channel.h"
#include "collect.h"
#include "faults.h"
#include "file.h"
#include "forward.h"
#include "init.h"
#include "load.h"
#include "machine.h"
#include "network.h"
#include "say.h"
#include "sha256.h"
#include "sys.h"

enum { SECONDS_TO_CONNECT = 60, SECONDS_TO_END = 10 };

struct machine {
	struct plan plan;
	uint8_t plan_digest[FRAME_DIGEST_SIZE];
	struct guest guest;
	struct guest_fault fault;
	struct guest_evidence evidence;
	struct launch_machine launch;
	struct launch_result result;
	uint8_t report_data[FRAME_REPORT_DATA_SIZE];
	int channel;	/* file, or -1 */
};

/*
 * What is needed once only comes last, and its pages are given back.  What an
 * evidence message may hold is a MiB, of which little is touched.
 */
static struct {
	struct machine machine;
	struct forward forward;
	uint8_t plan[PLAN_MAX_SIZE + 1];
	struct launch_memory launch;
	struct {
		union {
			uint8_t module[COLLECT_ROOM];
			uint8_t evidence[COLLECT_ROOM];
		};
		uint8_t release[FRAME_MAX_RELEASE];
	} once __attribute__((aligned(4096)));
} room;

static int read_plan(struct machine *machine)
{
	struct plan_fault fault;
	long size = file_read(INIT_PLAN, room.plan, sizeof(room.plan));
	struct sha256 hash;

	if (size < 0)
		return machine_fault(&machine->fault, "read-plan", size,
				     INIT_PLAN);
	if (plan_read(room.plan, (size_t)size, &machine->plan, &fault) != 0) {
		struct text text = { machine->fault.found, FAULT_FOUND_SIZE, 0 };

		machine->fault.where = fault.where;
		machine->fault.want = fault.want;
		text_add(&text, fault.found);
		return -1;
	}
	/* Asked, not tried: a signal costs an emulated machine 13 ms. */
	sha256_begin(&hash, sha256_cpu_is_fast() ? sha256_blocks_fast
						 : sha256_blocks_portable);
	sha256_add(&hash, room.plan, (size_t)size);
	sha256_end(&hash, machine->plan_digest);
	return 0;
}

static int block_signals(struct machine *machine)
{
	static const uint64_t all = UINT64_MAX;
	long error = sys_sigmask(2 /* SIG_SETMASK */, &all, NULL);

	return error < 0 ? machine_fault(&machine->fault, "block-signals", error,
					 "no signal to end the first process")
			 : 0;
}

static int load_modules(struct machine *machine)
{
	return modules_load(&machine->plan, room.once.module,
			    sizeof(room.once.module), &machine->fault);
}

/* Behind the modules: that of configfs may be one of them. */
static int mount_rest(struct machine *machine)
{
	const char *step;
	long error = init_mount_for(&machine->plan, &step);

	return error < 0 ? machine_fault(&machine->fault, step, error,
					 "what the plan needs") : 0;
}

static int raise_loopback(struct machine *machine)
{
	long error = init_raise_loopback(&machine->plan, room.launch.states);

	return error < 0 ? machine_fault(&machine->fault, "raise-loopback",
					 error, "127.0.0.1 on lo") : 0;
}

static int end_modules(struct machine *machine)
{
	return modules_end(&machine->fault);
}

static int require_randomness(struct machine *machine)
{
	return randomness_require(&machine->plan, &machine->fault);
}

static int set_hostname(struct machine *machine)
{
	const char *name = machine->plan.hostname;
	long error = name == NULL ? 0 : sys2(SYS_sethostname, (long)name,
					     (long)strlen(name));

	return error < 0 ? machine_fault(&machine->fault, "set-hostname", error,
					 name) : 0;
}

static int raise_network(struct machine *machine)
{
	return machine->plan.network == NULL ? 0 :
	       network_raise(machine->plan.network, &machine->fault);
}

static int open_channel(struct machine *machine)
{
	struct guest_settings settings = { .patience = GUEST_PATIENCE };

	if (machine->plan.channel == NULL)
		return 0;
	if (connect_channel(&machine->plan, SECONDS_TO_CONNECT,
			    &machine->channel, &machine->fault) != 0)
		return -1;
	settings.fd = machine->channel;
	memcpy(settings.plan_digest, machine->plan_digest, FRAME_DIGEST_SIZE);
	memcpy(settings.relying_party, machine->plan.channel + 32,
	       FRAME_KEY_SIZE);
	settings.plain_output = (int)load32_le(machine->plan.channel + 8);
	return guest_begin(&machine->guest, &settings, &machine->fault);
}

static int ask_for_challenge(struct machine *machine)
{
	return machine->channel < 0 ? 0 :
	       guest_ask(&machine->guest, machine->report_data,
			 &machine->fault);
}

static int collect(struct machine *machine)
{
	return machine->channel < 0 ? 0 :
	       collect_evidence(&machine->plan, machine->report_data,
				room.once.evidence, &machine->evidence,
				&machine->fault);
}

/* The secret lies in one more place for as long as it takes to copy it. */
static int take_secret(struct machine *machine)
{
	uint8_t *release = room.once.release;
	const uint8_t *secret;
	size_t size;
	int error;

	if (machine->channel < 0)
		return 0;
	error = guest_attest(&machine->guest, &machine->evidence, release,
			     &secret, &size, &machine->fault);
	collect_end();
	if (error == 0)
		error = secret_deliver(&machine->plan, secret, size,
				       &machine->launch.secret,
				       &machine->fault);
	explicit_bzero(release, FRAME_MAX_RELEASE);
	return error;
}

static int open_streams(struct machine *machine)
{
	if (machine->channel < 0)
		return 0;
	if (forward_begin(&room.forward, &machine->guest,
			  &machine->launch) == 0)
		return 0;
	machine->fault = room.forward.fault;
	return -1;
}

static const struct {
	const char *name;
	int (*run)(struct machine *machine);
} steps[] = {
	{ "read-plan", read_plan },
	{ "block-signals", block_signals },
	{ "load-modules", load_modules },
	{ "mount-rest", mount_rest },
	{ "raise-loopback", raise_loopback },
	/* From here on the kernel takes no code that is not measured.  Before
	 * the first byte of a stranger. */
	{ "end-modules", end_modules },
	{ "require-randomness", require_randomness },
	{ "set-hostname", set_hostname },
	{ "raise-network", raise_network },
	{ "open-channel", open_channel },
	{ "ask-for-challenge", ask_for_challenge },
	{ "collect", collect },
	{ "take-secret", take_secret },
	{ "open-streams", open_streams },
};

static int attend(void *context, size_t which)
{
	(void)context; /* there is one machine */
	return forward_some(&room.forward, which);
}

static void report(void *context, const struct launch_violation *violation)
{
	char line[SAY_LINE_SIZE];
	size_t size;

	(void)context; /* there is one machine */
	if (room.machine.channel >= 0) {
		forward_violation(&room.forward, violation);
		return;
	}
	size = say_violation(line, violation);
	line[size++] = '\n';
	sys_write(2, line, size);
}

/* What only the handshake needed is the kernel's again, and zero. */
static void forget(void)
{
	(void)sys3(SYS_madvise, (long)&room.once, sizeof(room.once),
		   4 /* MADV_DONTNEED */);
}

/* How it ended, in the words that the console has without a channel. */
static void tell_end(struct machine *machine)
{
	char reason[FRAME_MAX_REASON + 1];
	struct text text = { reason, sizeof(reason), 0 };
	struct guest_fault *fault = &room.forward.fault;

	reason[0] = 0;
	init_describe_end(&text, &machine->result);
	if (machine->result.step != NULL) {
		text_add(&text, ": ");
		text_add(&text, machine->result.step);
		text_add(&text, ": ");
		text_add(&text, machine->result.reason[0] != 0 ?
			 machine->result.reason :
			 strerror(machine->result.error));
	}
	if (forward_all(&room.forward) != 0 ||
	    channel_settle(machine->channel, fault) != 0 ||
	    guest_exit(&machine->guest, (uint8_t)machine->result.exit_code,
		       reason, fault) != 0) {
		say_found(fault->where, fault->found, fault->want);
		return;
	}
	connect_end(&machine->plan, machine->channel, SECONDS_TO_END);
}

static void run(struct machine *machine)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		fault_point(steps[i].name, 0);
		if (steps[i].run(machine) == 0)
			continue;
		say_found(machine->fault.where, machine->fault.found,
			  machine->fault.want);
		guest_end(&machine->guest);
		init_end(&machine->result);
	}
	forget();
	(void)launch_in_machine(&machine->plan, LAUNCH_HIDE |
				LAUNCH_JOB_CONTROL | LAUNCH_OWN_PROCESS,
				&machine->launch, report, NULL, &room.launch,
				&machine->result);
	say_lacks(&machine->result);
	if (machine->channel < 0) {
		say_trouble(&machine->result);
		init_end(&machine->result);
	}
	tell_end(machine);
	guest_end(&machine->guest);
	init_power_off(load32_le(machine->plan.channel + 8) != 0 ?
		       &machine->result : NULL);
}

int main(void)
{
	struct machine *machine = &room.machine;
	const char *step;
	long error;

	machine->result = (struct launch_result){
		.exit_code = LAUNCH_FAILED, .step = "start",
	};
	machine->launch = (struct launch_machine){
		{ -1, -1, -1 }, -1, { -1, -1 }, attend,
	};
	machine->channel = -1;
	fault_point("prepare", 0);
	if (!init_is_due()) {
		say("usage", "shim-init is the first process of a machine, and "
		    "nothing else");
		return LAUNCH_FAILED;
	}
	error = init_prepare(&step);
	if (error < 0) {
		say(step, strerror((int)-error));
		init_end(&machine->result);
	}
	run(machine);
}
