/*
 * A guest's evidence by a TPM 2.0: a quote over its registers by a key of its
 * own, with what binds that key to the TPM's maker.  The order is tpm2_begin,
 * tpm2_collect, tpm2_activate, tpm2_end.
 */
#ifndef SHIM_TPM2_H
#define SHIM_TPM2_H

#include "frame.h"

#define TPM2_MAX_MESSAGE 4096U		/* of every TPM of a PC */
#define TPM2_MAX_PUBLIC 512U		/* TPMT_PUBLIC of an RSA key of 3072 bits */
#define TPM2_MAX_CERTIFICATE 3072U
#define TPM2_EVIDENCE_ROOM 16384U
#define TPM2_SECRET_SIZE 32		/* of a credential */

/* What follows from a key of the TPM. */
struct tpm2_key {
	uint32_t handle;	/* 0: none */
	size_t size;
	uint8_t public_area[TPM2_MAX_PUBLIC];	/* TPMT_PUBLIC */
};

struct tpm2 {
	int fd;
	struct tpm2_key endorsement;
	struct tpm2_key attestation;
	size_t certificate_size;
	uint8_t certificate[TPM2_MAX_CERTIFICATE];	/* of the endorsement key */
	uint8_t command[TPM2_MAX_MESSAGE];
	uint8_t response[TPM2_MAX_MESSAGE];
};

/* All return 0, or -1 with FAULT filled. */

/*
 * FD is /dev/tpmrm0 or leads to a TPM itself, and has nobody else behind it.
 * Reads the endorsement key's certificate and makes both keys: seconds, on a
 * TPM of hardware.  FD is non-blocking from now on.
 */
int tpm2_begin(struct tpm2 *tpm, int fd, struct guest_fault *fault);

/*
 * Write evidence that is bound to REPORT_DATA into ROOM: a JSON object as
 * attestation/tpm/evidence.py reads it, SIZE bytes.
 */
int tpm2_collect(struct tpm2 *tpm,
		 const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		 uint8_t room[TPM2_EVIDENCE_ROOM], size_t *size,
		 struct guest_fault *fault);

/*
 * Open a CREDENTIAL, TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET: only the TPM
 * that holds both keys can.
 */
int tpm2_activate(struct tpm2 *tpm, const uint8_t *credential, size_t size,
		  uint8_t secret[TPM2_SECRET_SIZE], struct guest_fault *fault);

/* Leave no key in the TPM. */
void tpm2_end(struct tpm2 *tpm);

#endif
