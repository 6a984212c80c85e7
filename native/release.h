/* What makes a message a release: who signed it, for what, and its secret. */
#ifndef SHIM_RELEASE_H
#define SHIM_RELEASE_H

#include "frame.h"
#include "hpke.h"

/* What a release has to be for, all of it known before it arrives. */
struct release_terms {
	uint8_t relying_party[FRAME_KEY_SIZE];	/* Ed25519, from the plan */
	uint8_t nonce[FRAME_NONCE_SIZE];
	uint8_t evidence[FRAME_DIGEST_SIZE];	/* SHA-256 of that message */
	uint8_t private_key[FRAME_KEY_SIZE];	/* X25519 */
	uint8_t public_key[FRAME_KEY_SIZE];
};

/* The 64 bytes that evidence is bound by: attestation/binding.py. */
void release_report_data(uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			 const uint8_t nonce[FRAME_NONCE_SIZE],
			 const uint8_t public_key[FRAME_KEY_SIZE],
			 const uint8_t plan_digest[FRAME_DIGEST_SIZE]);

/* What the relying party signs: SHA-256 of the label and of what follows, of
 * which only the ciphertext has no fixed size. */
void release_digest(uint8_t digest[FRAME_DIGEST_SIZE],
		    const struct release_terms *terms,
		    const uint8_t enc[FRAME_KEY_SIZE],
		    const uint8_t *ciphertext, size_t size);

/* What a guest says that has opened a credential, whose secret is the KEY. */
#define RELEASE_PROOF_KEY_SIZE 32
void release_proof(uint8_t proof[FRAME_PROOF_SIZE],
		   const struct release_terms *terms,
		   const uint8_t key[RELEASE_PROOF_KEY_SIZE]);

/* HPKE's info: label, nonce, digest of the evidence. */
#define RELEASE_INFO_SIZE (16 + FRAME_NONCE_SIZE + FRAME_DIGEST_SIZE)
void release_info(uint8_t info[RELEASE_INFO_SIZE],
		  const struct release_terms *terms);

/*
 * Open the SIZE bytes of a release's BODY in place.  Returns 0 with SECRET
 * pointing into it, its size, and RECORDS ready to seal what the guest sends;
 * or -1 with FAULT filled and nothing of the secret anywhere.
 */
int release_open(const struct release_terms *terms, uint8_t *body, size_t size,
		 const uint8_t **secret, size_t *secret_size,
		 struct sealing *records, struct guest_fault *fault);

#endif
