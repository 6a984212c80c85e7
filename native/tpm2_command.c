/* One question to a TPM, its answer, and patience with a TPM that is busy. */
#include "tpm2_command.h"

#include <string.h>

#include "channel.h"
#include "load.h"
#include "sys.h"

enum {
	HEADER_SIZE = 10,	/* tag, size, code */
	NO_SESSIONS = 0x8001, SESSIONS = 0x8002,	/* tags */
	ATTEMPTS = 100,
	CONTINUE_SESSION = 1,	/* TPMA_SESSION: a password has no end */
};

#define PAUSE_NS 20000000L
#define PATIENCE_NS UINT64_C(120000000000)	/* an RSA key takes its time */

/* TPM_RC_YIELDED, TESTING, RETRY: part 2, section 6.6.3. */
static int is_busy(uint32_t code)
{
	return code == 0x908 || code == 0x90a || code == 0x922;
}

void tpm2_begin_command(struct tpm2 *tpm, struct tpm2_command *command,
			const char *name, enum tpm2_code code,
			unsigned sessions)
{
	*command = (struct tpm2_command){
		.name = name,
		.out = { tpm->command, sizeof(tpm->command), 0, 0 },
		.sessions = sessions,
	};
	tpm2_put16(&command->out, sessions == 0 ? NO_SESSIONS : SESSIONS);
	tpm2_put32(&command->out, 0);
	tpm2_put32(&command->out, (uint32_t)code);
}

/* TPMS_AUTH_COMMAND: part 2, section 10.13.2. */
void tpm2_authorize(struct tpm2_command *command, uint32_t session)
{
	tpm2_put32(&command->out, session);
	tpm2_put16(&command->out, 0);	/* nonce */
	tpm2_put8(&command->out,
		  session == TPM2_RS_PASSWORD ? CONTINUE_SESSION : 0);
	tpm2_put16(&command->out, 0);	/* password, or HMAC */
}

void tpm2_authorize_by_nothing(struct tpm2_command *command)
{
	size_t area = tpm2_open_size(&command->out, 4);

	tpm2_authorize(command, TPM2_RS_PASSWORD);
	tpm2_close_size(&command->out, area, 4);
}

int tpm2_malformed(const struct tpm2_command *command,
		   struct guest_fault *fault)
{
	return guest_fault(fault, command->name, "another response",
			   "one as TPM 2.0 Library, part 3, defines it");
}

/* Returns 0 with the whole response in the TPM's room, and its size. */
static int exchange(struct tpm2 *tpm, const struct tpm2_command *command,
		    size_t *size, struct guest_fault *fault)
{
	uint64_t deadline = channel_now() + PATIENCE_NS;
	/* In one piece: the kernel takes one write for one command. */
	struct iovec part = { tpm->command, command->out.size };

	if (channel_write(tpm->fd, &part, 1, deadline, fault) != 0 ||
	    channel_read(tpm->fd, tpm->response, HEADER_SIZE, deadline,
			 fault) != 0) {
		fault->where = command->name;
		return -1;
	}
	*size = load32_be(tpm->response + 2);
	if (*size < HEADER_SIZE || *size > sizeof(tpm->response))
		return guest_fault_number(fault, command->name, *size,
					  "a response of 10 to 4096 bytes");
	if (channel_read(tpm->fd, tpm->response + HEADER_SIZE,
			 *size - HEADER_SIZE, deadline, fault) == 0)
		return 0;
	fault->where = command->name;
	return -1;
}

static int refused(struct tpm2_command *command, struct guest_fault *fault)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = command->name;
	fault->want = "response code 0";
	text_add_hex(&text, command->refusal);
	return -1;
}

/* Cut READER to the parameters; what is behind them must be as many
 * authorizations as the command has sessions. */
static int take_parameters(const struct tpm2_command *command,
			   struct tpm2_reader *reader)
{
	struct tpm2_reader parameters;
	size_t size;

	if (command->sessions == 0)
		return 0;
	parameters = tpm2_take_part(reader, tpm2_take32(reader));
	for (unsigned i = 0; i < command->sessions; i++) {
		tpm2_take_sized(reader, &size);	/* nonce */
		tpm2_take8(reader);		/* attributes */
		tpm2_take_sized(reader, &size);	/* acknowledgment */
	}
	if (!tpm2_is_read(reader))
		return -1;
	*reader = parameters;
	return 0;
}

int tpm2_run(struct tpm2 *tpm, struct tpm2_command *command, int wants_handle,
	     struct tpm2_reader *reader, struct guest_fault *fault)
{
	const struct timespec pause = { 0, PAUSE_NS };
	uint16_t tag;
	size_t size;

	if (command->out.overflown)
		return guest_fault(fault, command->name, "a longer command",
				   "at most 4096 bytes");
	store32_be(command->out.bytes + 2, (uint32_t)command->out.size);
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (attempt != 0)
			sys_ppoll(NULL, 0, &pause);
		if (exchange(tpm, command, &size, fault) != 0)
			return -1;
		command->refusal = load32_be(tpm->response + 6);
		if (!is_busy(command->refusal))
			break;
	}
	if (command->refusal != 0)
		return refused(command, fault);
	*reader = (struct tpm2_reader){ tpm->response, size, 0 };
	tag = tpm2_take16(reader);
	tpm2_take(reader, HEADER_SIZE - sizeof(tag));
	if (tag != (command->sessions == 0 ? NO_SESSIONS : SESSIONS))
		return tpm2_malformed(command, fault);
	if (wants_handle)
		command->handle = tpm2_take32(reader);
	if (take_parameters(command, reader) != 0 || reader->broken)
		return tpm2_malformed(command, fault);
	return 0;
}
