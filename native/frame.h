/*
 * Frames of the channel between a guest and its relying party: docs/protocol.md.
 *
 *    0  "SHIM"
 *    4  u8  version, 1
 *    5  u8  type
 *    6  u16 reserved, 0
 *    8  u32 size of the body; big-endian, as all numbers here
 *   12  body
 */
#ifndef SHIM_FRAME_H
#define SHIM_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define FRAME_HEADER_SIZE 12
#define FRAME_VERSION 1
#define FRAME_TAG_SIZE 16		/* of ChaCha20-Poly1305 */
#define FRAME_NONCE_SIZE 32
#define FRAME_DIGEST_SIZE 32
#define FRAME_KEY_SIZE 32		/* of X25519 and of Ed25519 */
#define FRAME_SIGNATURE_SIZE 64
#define FRAME_REPORT_DATA_SIZE 64
#define FRAME_MAX_EVIDENCE (1U << 20)	/* the whole body */
#define FRAME_MAX_SECRET 65536U
#define FRAME_MIN_CREDENTIAL 6U		/* two sizes, and a byte behind each */
#define FRAME_MAX_CREDENTIAL 1024U
#define FRAME_PROOF_SIZE 32		/* of HMAC-SHA256 */
#define FRAME_MAX_OUTPUT 16384U		/* bytes of one piece of output */
#define FRAME_MAX_EVENT 8192U
#define FRAME_MAX_REASON 255U

#define FRAME_RELEASE_HEAD (FRAME_KEY_SIZE + FRAME_SIGNATURE_SIZE)
#define FRAME_MIN_RELEASE (FRAME_RELEASE_HEAD + FRAME_TAG_SIZE)
#define FRAME_MAX_RELEASE (FRAME_MIN_RELEASE + FRAME_MAX_SECRET)
#define FRAME_EVIDENCE_HEAD 76		/* key, plan digest, three sizes */

enum frame_type {
	FRAME_REQUEST = 1,
	FRAME_CHALLENGE = 2,
	FRAME_EVIDENCE = 3,
	FRAME_RELEASE = 4,
	FRAME_REFUSAL = 5,
	FRAME_OUTPUT = 6,	/* these three sealed */
	FRAME_EVENT = 7,
	FRAME_EXIT = 8,
	FRAME_CREDENTIAL = 9,	/* of a TPM */
	FRAME_PROOF = 10,
	FRAME_PLAIN = 8,	/* added to their types where they are plain */
	/* On a channel of its own, between a guest that was built for it and
	 * what plays a TEE for it. */
	FRAME_REPORT_DATA = 32,
	FRAME_SIMULATED = 33,
};

#define FRAME_BIT(type) (UINT64_C(1) << (type))	/* in a set of types */

struct frame {
	uint8_t type;
	uint32_t size;	/* of the body */
};

#define FAULT_FOUND_SIZE 64

/* Why a guest gives up: `where: found X, want Y`. */
struct guest_fault {
	const char *where;
	const char *want;
	char found[FAULT_FOUND_SIZE];
};

/* Each returns -1, for its caller to return. */
int guest_fault(struct guest_fault *fault, const char *where,
		const char *found, const char *want);
int guest_fault_number(struct guest_fault *fault, const char *where,
		       uint64_t found, const char *want);

/*
 * Read HEADER.  Returns 0 with FRAME filled, or -1 with FAULT filled: then not
 * one byte of a body may be read.
 */
int frame_read_header(const uint8_t header[FRAME_HEADER_SIZE],
		      struct frame *frame, struct guest_fault *fault);
void frame_write_header(uint8_t header[FRAME_HEADER_SIZE],
			const struct frame *frame);

#endif
