/*
 * A guest without a machine, for tests: the protocol over an inherited file, with
 * evidence of a simulated TEE over another.
 *
 *	guest-simulator CHANNEL TEE PLAN-DIGEST RELYING-PARTY SECONDS sealed|plain
 *			[ERRNO CALL]
 *
 * With the last two the system call fails that is CALL-th, once.
 *
 * The secret goes to standard output.  Standard input then says what to send: a
 * byte (1, 2: output; 3: event; 4: exit, with its status first), a size in four
 * bytes, big-endian, and as many bytes.
 */
#include <string.h>

#include "channel.h"
#include "faults.h"
#include "guest.h"
#include "load.h"
#include "simulated_tee.h"
#include "sys.h"

enum { REFUSED = 125, EVENT = 3, EXIT = 4, MAX_INPUT = 1 << 20 };

static struct {
	struct guest guest;
	uint8_t release[FRAME_MAX_RELEASE];
	uint8_t evidence[SIMULATED_TEE_ROOM];
	uint8_t input[MAX_INPUT + 1];
} room;

static long fault_errno;
static long fault_left;	/* calls until the one that fails */

void fault_point(const char *step, int pid)
{
	(void)step; /* a guest has no steps that a test could name */
	(void)pid;
}

long fault_call(long nr)
{
	/* What the simulator does for itself is no part of a guest. */
	if (fault_errno == 0 || nr == SYS_exit_group || nr == SYS_write ||
	    nr == SYS_close || fault_left-- != 0)
		return 0;
	return -fault_errno;
}

static int say(const struct guest_fault *fault)
{
	char line[256];
	struct text text = { line, sizeof(line), 0 };

	text_add(&text, "shim: ");
	text_add(&text, fault->where);
	text_add(&text, ": found ");
	text_add(&text, fault->found);
	text_add(&text, ", want ");
	text_add(&text, fault->want);
	text_add(&text, "\n");
	sys_write(2, line, text.size);
	return REFUSED;
}

static uint32_t parse_decimal(const char *text)
{
	uint32_t value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint32_t)(*text - '0');
	return value;
}

static uint8_t parse_nibble(char digit)
{
	return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static int parse_digest(const char *text, uint8_t bytes[FRAME_DIGEST_SIZE])
{
	if (strlen(text) != 2 * FRAME_DIGEST_SIZE ||
	    strspn(text, "0123456789abcdef") != 2 * FRAME_DIGEST_SIZE)
		return -1;
	for (size_t i = 0; i < FRAME_DIGEST_SIZE; i++)
		bytes[i] = (uint8_t)(parse_nibble(text[2 * i]) << 4 |
				     parse_nibble(text[2 * i + 1]));
	return 0;
}

/* Returns 1 for SIZE bytes, 0 for the end or less. */
static int read_all(uint8_t *bytes, size_t size)
{
	size_t done = 0;

	while (done < size) {
		long got = sys_read(0, bytes + done, size - done);

		if (got <= 0)
			return 0;
		done += (size_t)got;
	}
	return 1;
}

static int send_one(uint8_t what, size_t size, struct guest_fault *fault)
{
	room.input[size] = 0;
	if (what == EVENT)
		return guest_event(&room.guest, room.input, size, fault);
	if (what == EXIT)
		return guest_exit(&room.guest, room.input[0],
				  (const char *)room.input + (size != 0),
				  fault);
	return guest_output(&room.guest, what, room.input, size, fault);
}

static int send_input(struct guest_fault *fault)
{
	uint8_t head[5];

	while (read_all(head, sizeof(head))) {
		size_t size = load32_be(head + 1);

		if (size > MAX_INPUT || !read_all(room.input, size))
			return guest_fault(fault, "input", "too much or little",
					   "as much as was said");
		if (send_one(head[0], size, fault) != 0)
			return -1;
	}
	return 0;
}

static int run(const struct guest_settings *settings, int tee,
	       struct guest_fault *fault)
{
	struct guest *guest = &room.guest;
	uint8_t report_data[FRAME_REPORT_DATA_SIZE];
	struct guest_evidence evidence;
	const uint8_t *secret;
	size_t size;

	if (guest_begin(guest, settings, fault) != 0 ||
	    guest_ask(guest, report_data, fault) != 0 ||
	    simulated_tee_collect(tee, settings->patience.challenge,
				  report_data, room.evidence, &evidence,
				  fault) != 0 ||
	    guest_attest(guest, &evidence, room.release, &secret, &size,
			 fault) != 0)
		return -1;
	if (sys_write(1, secret, size) != (long)size)
		return guest_fault(fault, "output", "it closed", "it open");
	sys_close(1);
	return send_input(fault);
}

int main(int argc, char **argv)
{
	static const struct uapi_sigaction ignore = {
		.handler = 1, /* SIG_IGN */
	};
	struct guest_settings settings;
	struct guest_fault fault;
	int status = 0;

	memset(&settings, 0, sizeof(settings));
	if ((argc != 7 && argc != 9) || parse_digest(argv[3], settings.plan_digest) != 0 ||
	    parse_digest(argv[4], settings.relying_party) != 0 ||
	    sys_sigaction(13 /* SIGPIPE */, &ignore, NULL) < 0)
		sys_exit(2);
	settings.fd = (int)parse_decimal(argv[1]);
	settings.patience.challenge = parse_decimal(argv[5]);
	settings.patience.release = settings.patience.challenge;
	settings.patience.record = settings.patience.challenge;
	settings.plain_output = strcmp(argv[6], "plain") == 0;
	if (argc == 9) {
		fault_left = parse_decimal(argv[8]);
		fault_errno = parse_decimal(argv[7]);
	}
	if (run(&settings, (int)parse_decimal(argv[2]), &fault) != 0)
		status = say(&fault);
	guest_end(&room.guest);
	if (fault_errno != 0 && fault_left >= 0)
		sys_write(2, "fault: never\n", 13);
	sys_exit(status);
}
