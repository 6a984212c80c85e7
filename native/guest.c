/* A guest asks, answers, and is told a secret; what it says then is sealed. */
#include "guest.h"

#include <string.h>

#include <sodium.h>

#include "channel.h"
#include "load.h"
#include "sys.h"

_Static_assert(crypto_scalarmult_curve25519_SCALARBYTES == FRAME_KEY_SIZE,
	       "X25519");
_Static_assert(FRAME_MAX_EVENT + FRAME_TAG_SIZE <=
	       sizeof(((struct guest *)0)->body), "room for an event");
_Static_assert(FRAME_EXIT + FRAME_PLAIN < FRAME_REPORT_DATA, "types");
_Static_assert(FRAME_OUTPUT + FRAME_PLAIN > FRAME_PROOF, "types");
_Static_assert(FRAME_SIMULATED < 64, "a bit for each type");
_Static_assert(FRAME_MAX_CREDENTIAL <= FRAME_MAX_RELEASE, "one room for both");

void guest_end(struct guest *guest)
{
	sodium_memzero(&guest->terms, sizeof(guest->terms));
	sodium_memzero(&guest->records, sizeof(guest->records));
	sodium_memzero(guest->body, sizeof(guest->body));
	guest->state = GUEST_ENDED;
}

static int end(struct guest *guest)
{
	guest_end(guest);
	return -1;
}

static int require(struct guest *guest, enum guest_state state,
		   struct guest_fault *fault)
{
	if (guest->state == state)
		return 0;
	guest_fault_number(fault, "guest.state", guest->state,
			   "the state before this step");
	return end(guest);
}

static uint64_t deadline_in(uint32_t seconds)
{
	return seconds == 0 ? CHANNEL_NEVER
			    : channel_now() + seconds * UINT64_C(1000000000);
}

/* Random bytes of the kernel, which waits until it has some. */
static int fresh(uint8_t *bytes, size_t size, struct guest_fault *fault)
{
	enum { INTERRUPTED = -4 };
	long got;

	do
		got = sys3(SYS_getrandom, (long)bytes, (long)size, 0);
	while (got == INTERRUPTED);
	if (got == (long)size)
		return 0;
	return guest_fault(fault, "guest.key", "no random bytes",
			   "32 of the kernel");
}

int guest_begin(struct guest *guest, const struct guest_settings *settings,
		struct guest_fault *fault)
{
	struct release_terms *terms = &guest->terms;

	memset(guest, 0, sizeof(*guest));
	guest->settings = *settings;
	if (sodium_init() < 0) {
		guest_fault(fault, "guest.key", "libsodium not ready",
			    "it ready");
		return end(guest);
	}
	memcpy(terms->relying_party, settings->relying_party, FRAME_KEY_SIZE);
	if (channel_prepare(settings->fd, fault) != 0 ||
	    fresh(terms->private_key, FRAME_KEY_SIZE, fault) != 0)
		return end(guest);
	crypto_scalarmult_curve25519_base(terms->public_key,
					  terms->private_key);
	guest->state = GUEST_READY;
	return 0;
}

int guest_ask(struct guest *guest, uint8_t report_data[FRAME_REPORT_DATA_SIZE],
	      struct guest_fault *fault)
{
	const struct guest_settings *settings = &guest->settings;
	uint64_t deadline = deadline_in(settings->patience.challenge);
	uint8_t header[FRAME_HEADER_SIZE];
	struct iovec part = { header, sizeof(header) };
	struct frame frame = { FRAME_REQUEST, 0 };

	if (require(guest, GUEST_READY, fault) != 0)
		return -1;
	frame_write_header(header, &frame);
	if (channel_write(settings->fd, &part, 1, deadline, fault) != 0 ||
	    channel_receive(settings->fd, FRAME_BIT(FRAME_CHALLENGE), &frame,
			    guest->terms.nonce, FRAME_NONCE_SIZE, deadline,
			    fault) != 0)
		return end(guest);
	release_report_data(report_data, guest->terms.nonce,
			    guest->terms.public_key, settings->plan_digest);
	guest->state = GUEST_CHALLENGED;
	return 0;
}

static struct iovec part_of(const uint8_t *bytes, size_t size)
{
	union { const void *from; void *to; } pointer = { bytes };

	return (struct iovec){ pointer.to, size }; /* only read from */
}

/* Send the evidence, and keep the digest of the message's body. */
static int send_evidence(struct guest *guest,
			 const struct guest_evidence *evidence,
			 uint64_t deadline, struct guest_fault *fault)
{
	enum { HEADER, HEAD, EVIDENCE, EVENT_LOG, ENDORSEMENTS, PARTS };
	uint8_t header[FRAME_HEADER_SIZE];
	uint8_t head[FRAME_EVIDENCE_HEAD];
	struct iovec parts[PARTS] = {
		[HEADER] = { header, sizeof(header) },
		[HEAD] = { head, sizeof(head) },
		[EVIDENCE] = part_of(evidence->evidence,
				     evidence->evidence_size),
		[EVENT_LOG] = part_of(evidence->event_log,
				      evidence->event_log_size),
		[ENDORSEMENTS] = part_of(evidence->endorsements,
					 evidence->endorsements_size),
	};
	struct frame frame = { FRAME_EVIDENCE, FRAME_EVIDENCE_HEAD };
	crypto_hash_sha256_state hash;

	memcpy(head, guest->terms.public_key, FRAME_KEY_SIZE);
	memcpy(head + 32, guest->settings.plan_digest, FRAME_DIGEST_SIZE);
	for (size_t i = EVIDENCE; i < PARTS; i++) {
		if (parts[i].iov_len > FRAME_MAX_EVIDENCE - frame.size)
			return guest_fault_number(fault, "evidence",
						  parts[i].iov_len,
						  "1 MiB at most in all");
		frame.size += (uint32_t)parts[i].iov_len;
		store32_be(head + 64 + 4 * (i - EVIDENCE),
			   (uint32_t)parts[i].iov_len);
	}
	if (evidence->evidence_size == 0)
		return guest_fault(fault, "evidence", "none", "some");
	frame_write_header(header, &frame);
	crypto_hash_sha256_init(&hash);
	for (size_t i = HEAD; i < PARTS; i++)
		crypto_hash_sha256_update(&hash, parts[i].iov_base,
					  parts[i].iov_len);
	crypto_hash_sha256_final(&hash, guest->terms.evidence);
	return channel_write(guest->settings.fd, parts, PARTS, deadline, fault);
}

/* Say what only a machine with both keys of a TPM can know. */
static int send_proof(struct guest *guest,
		      const struct guest_evidence *evidence,
		      const uint8_t *credential, size_t size, uint64_t deadline,
		      struct guest_fault *fault)
{
	uint8_t secret[RELEASE_PROOF_KEY_SIZE];
	uint8_t header[FRAME_HEADER_SIZE];
	uint8_t proof[FRAME_PROOF_SIZE];
	struct frame frame = { FRAME_PROOF, FRAME_PROOF_SIZE };
	struct iovec parts[2] = {
		{ header, sizeof(header) }, { proof, sizeof(proof) },
	};

	if (evidence->activate(evidence->activator, credential, size, secret,
			       fault) != 0)
		return -1;
	release_proof(proof, &guest->terms, secret);
	sodium_memzero(secret, sizeof(secret));
	frame_write_header(header, &frame);
	return channel_write(guest->settings.fd, parts, 2, deadline, fault);
}

/* Wait for what the relying party thinks of the evidence.  It may ask once more,
 * and only a guest that has a TPM. */
static int receive_answer(struct guest *guest,
			  const struct guest_evidence *evidence,
			  struct frame *frame, uint8_t *room, uint64_t deadline,
			  struct guest_fault *fault)
{
	const uint64_t last = FRAME_BIT(FRAME_RELEASE) |
			      FRAME_BIT(FRAME_REFUSAL);
	uint64_t types = last;

	if (evidence->activate != NULL)
		types |= FRAME_BIT(FRAME_CREDENTIAL);
	if (channel_receive(guest->settings.fd, types, frame, room,
			    FRAME_MAX_RELEASE, deadline, fault) != 0)
		return -1;
	if (frame->type != FRAME_CREDENTIAL)
		return 0;
	if (send_proof(guest, evidence, room, frame->size, deadline,
		       fault) != 0)
		return -1;
	return channel_receive(guest->settings.fd, last, frame, room,
			       FRAME_MAX_RELEASE, deadline, fault);
}

int guest_attest(struct guest *guest, const struct guest_evidence *evidence,
		 uint8_t room[FRAME_MAX_RELEASE], const uint8_t **secret,
		 size_t *secret_size, struct guest_fault *fault)
{
	uint64_t deadline = deadline_in(guest->settings.patience.release);
	struct frame frame;

	if (require(guest, GUEST_CHALLENGED, fault) != 0)
		return -1;
	if (send_evidence(guest, evidence, deadline, fault) != 0 ||
	    receive_answer(guest, evidence, &frame, room, deadline,
			   fault) != 0)
		return end(guest);
	if (frame.type == FRAME_REFUSAL) {
		guest_fault_number(fault, "refusal",
				   (uint64_t)room[0] << 8 | room[1],
				   "a release");
		return end(guest);
	}
	if (release_open(&guest->terms, room, frame.size, secret, secret_size,
			 &guest->records, fault) != 0)
		return end(guest);
	/* It has served: what is kept cannot be taken. */
	sodium_memzero(&guest->terms, sizeof(guest->terms));
	guest->state = GUEST_RELEASED;
	return 0;
}

/* Send the first SIZE bytes of the body, sealed unless the plan says plain. */
static int send_record(struct guest *guest, uint8_t type, size_t size,
		       struct guest_fault *fault)
{
	const struct guest_settings *settings = &guest->settings;
	uint64_t deadline = deadline_in(settings->patience.record);
	uint8_t header[FRAME_HEADER_SIZE];
	struct frame frame = { type, (uint32_t)size };
	struct iovec parts[2] = {
		{ header, sizeof(header) }, { guest->body, size },
	};

	if (settings->plain_output) {
		frame.type = (uint8_t)(type + FRAME_PLAIN);
		frame_write_header(header, &frame);
	} else {
		frame.size += FRAME_TAG_SIZE;
		parts[1].iov_len += FRAME_TAG_SIZE;
		frame_write_header(header, &frame);
		if (sealing_seal(&guest->records, header, sizeof(header),
				 guest->body, size, guest->body) != 0)
			return guest_fault(fault, "record", "all numbers used",
					   "one for this record");
	}
	return channel_write(settings->fd, parts, 2, deadline, fault);
}

int guest_output(struct guest *guest, uint8_t stream, const uint8_t *bytes,
		 size_t size, struct guest_fault *fault)
{
	if (require(guest, GUEST_RELEASED, fault) != 0)
		return -1;
	for (size_t at = 0; at < size; at += FRAME_MAX_OUTPUT) {
		size_t piece = size - at < FRAME_MAX_OUTPUT ? size - at
							    : FRAME_MAX_OUTPUT;

		guest->body[0] = stream;
		memcpy(guest->body + 1, bytes + at, piece);
		if (send_record(guest, FRAME_OUTPUT, 1 + piece, fault) != 0)
			return end(guest);
	}
	return 0;
}

int guest_event(struct guest *guest, const uint8_t *bytes, size_t size,
		struct guest_fault *fault)
{
	if (require(guest, GUEST_RELEASED, fault) != 0)
		return -1;
	if (size == 0 || size > FRAME_MAX_EVENT) {
		guest_fault_number(fault, "event", size, "1 to 8192 bytes");
		return end(guest);
	}
	memcpy(guest->body, bytes, size);
	return send_record(guest, FRAME_EVENT, size, fault) == 0 ? 0
								 : end(guest);
}

int guest_exit(struct guest *guest, uint8_t status, const char *reason,
	       struct guest_fault *fault)
{
	size_t size = strlen(reason);
	int error;

	if (require(guest, GUEST_RELEASED, fault) != 0)
		return -1;
	if (size > FRAME_MAX_REASON)
		size = FRAME_MAX_REASON;
	guest->body[0] = status;
	memcpy(guest->body + 1, reason, size);
	error = send_record(guest, FRAME_EXIT, 1 + size, fault);
	guest_end(guest);
	return error;
}
