/*
 * The guest's side of the channel: docs/protocol.md.  The order is
 * guest_begin, guest_ask, collect evidence, guest_attest, then guest_output and
 * guest_event as they come, guest_exit.  Every failure is final.  SIGPIPE is for
 * the caller to ignore.
 */
#ifndef SHIM_GUEST_H
#define SHIM_GUEST_H

#include "frame.h"
#include "hpke.h"
#include "release.h"

enum guest_state {
	GUEST_NEW,
	GUEST_READY,		/* has a key */
	GUEST_CHALLENGED,	/* has a nonce */
	GUEST_RELEASED,		/* has the secret */
	GUEST_ENDED,		/* by its exit, or by a failure */
};

/* Seconds; how long each is waited for, the time of the other side included. */
struct guest_patience {
	uint32_t challenge;
	uint32_t release;
	uint32_t record;	/* to get rid of one record; 0: for ever */
};
#define GUEST_PATIENCE ((struct guest_patience){ 60, 120, 0 })

struct guest_settings {
	int fd;
	struct guest_patience patience;
	uint8_t plan_digest[FRAME_DIGEST_SIZE];
	uint8_t relying_party[FRAME_KEY_SIZE];	/* Ed25519, from the plan */
	int plain_output;	/* the plan says so */
};

struct guest {
	struct guest_settings settings;
	enum guest_state state;
	struct release_terms terms;
	struct sealing records;
	uint8_t body[1 + FRAME_MAX_OUTPUT + FRAME_TAG_SIZE]; /* of a record */
};

/* As the kernel or the TEE gave them. */
struct guest_evidence {
	const uint8_t *evidence;
	size_t evidence_size;
	const uint8_t *event_log;	/* or of size 0 */
	size_t event_log_size;
	const uint8_t *endorsements;	/* or of size 0 */
	size_t endorsements_size;
	/* Opens a credential for the TPM that the evidence is of, tpm2_activate;
	 * without one, none is taken.  Returns 0, or -1 with FAULT filled. */
	int (*activate)(void *activator, const uint8_t *credential, size_t size,
			uint8_t secret[RELEASE_PROOF_KEY_SIZE],
			struct guest_fault *fault);
	void *activator;
};
_Static_assert(sizeof(struct guest_evidence) == 64, "tests/native/test_tsm.py");

/* All functions return 0, or -1 with FAULT filled, the state ENDED and nothing
 * secret left in GUEST.  Out of their order they fail as well. */

/* Make a fresh key.  Blocks until the kernel's randomness is seeded. */
int guest_begin(struct guest *guest, const struct guest_settings *settings,
		struct guest_fault *fault);

/* Ask for a challenge.  REPORT_DATA is what the evidence has to be bound to. */
int guest_ask(struct guest *guest, uint8_t report_data[FRAME_REPORT_DATA_SIZE],
	      struct guest_fault *fault);

/* Send the evidence, open a credential if one comes, and wait for the secret,
 * which then lies in ROOM, for the caller to wipe. */
int guest_attest(struct guest *guest, const struct guest_evidence *evidence,
		 uint8_t room[FRAME_MAX_RELEASE], const uint8_t **secret,
		 size_t *secret_size, struct guest_fault *fault);

/* What the program wrote to STREAM 1 or 2, any SIZE but 0. */
int guest_output(struct guest *guest, uint8_t stream, const uint8_t *bytes,
		 size_t size, struct guest_fault *fault);
/* One event, 1 to FRAME_MAX_EVENT bytes of JSON. */
int guest_event(struct guest *guest, const uint8_t *bytes, size_t size,
		struct guest_fault *fault);
/* The last word; REASON is cut at FRAME_MAX_REASON. */
int guest_exit(struct guest *guest, uint8_t status, const char *reason,
	       struct guest_fault *fault);

/* Leave nothing secret behind. */
void guest_end(struct guest *guest);

#endif
