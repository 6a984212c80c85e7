/* The keys of a TPM: made, and flushed. */
#ifndef SHIM_TPM2_KEYS_H
#define SHIM_TPM2_KEYS_H

#include "tpm2.h"

/* Fill in TPM's certificate and keys.  Returns 0, or -1 with FAULT filled: keys
 * that are there by then are still to be flushed. */
int tpm2_make_keys(struct tpm2 *tpm, struct guest_fault *fault);

/* Take a key or a session out of the TPM.  If that fails its room is lost until
 * the next start, and nothing else. */
void tpm2_flush(struct tpm2 *tpm, uint32_t handle);

#endif
