/* What a TPM says of its registers, and the registers that it says it of. */
#ifndef SHIM_TPM2_QUOTE_H
#define SHIM_TPM2_QUOTE_H

#include "tpm2.h"

#define TPM2_REGISTERS 24
#define TPM2_DIGEST_SIZE 32	/* of the SHA-256 bank */
#define TPM2_MAX_ATTEST 512U

struct tpm2_quote {
	size_t message_size;
	uint8_t message[TPM2_MAX_ATTEST];	/* TPMS_ATTEST */
	size_t signature_size;
	uint8_t signature[TPM2_MAX_ATTEST];	/* TPMT_SIGNATURE */
	uint8_t registers[TPM2_REGISTERS][TPM2_DIGEST_SIZE];
};

/*
 * Quote all registers of the SHA-256 bank by TPM's attestation key, together with
 * QUALIFYING_DATA.  Returns 0, or -1 with FAULT filled.
 */
int tpm2_quote(struct tpm2 *tpm,
	       const uint8_t qualifying_data[TPM2_DIGEST_SIZE],
	       struct tpm2_quote *quote, struct guest_fault *fault);

#endif
