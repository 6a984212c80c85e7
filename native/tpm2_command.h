/*
 * One command of a TPM 2.0 and its response: TCG TPM 2.0 Library, revision 1.59,
 * part 1, section 18, "Command/Response Structure".
 */
#ifndef SHIM_TPM2_COMMAND_H
#define SHIM_TPM2_COMMAND_H

#include "frame.h"
#include "tpm2.h"
#include "tpm2_wire.h"

/* Part 2, sections 6.3, 6.5.2, 7.4. */
enum {
	TPM2_ALG_AES = 0x0006, TPM2_ALG_RSA = 0x0001, TPM2_ALG_SHA256 = 0x000b,
	TPM2_ALG_NULL = 0x0010, TPM2_ALG_ECDSA = 0x0018, TPM2_ALG_ECC = 0x0023,
	TPM2_ALG_CFB = 0x0043,
	TPM2_ECC_P256 = 0x0003,
};

#define TPM2_RH_NULL		0x40000007U
#define TPM2_RS_PASSWORD	0x40000009U	/* TPM_RS_PW */
#define TPM2_RH_ENDORSEMENT	0x4000000bU

enum tpm2_code {
	TPM2_CREATE_PRIMARY = 0x131, TPM2_ACTIVATE_CREDENTIAL = 0x147,
	TPM2_NV_READ = 0x14e, TPM2_POLICY_SECRET = 0x151, TPM2_QUOTE = 0x158,
	TPM2_FLUSH_CONTEXT = 0x165, TPM2_NV_READ_PUBLIC = 0x169,
	TPM2_START_AUTH_SESSION = 0x176, TPM2_PCR_READ = 0x17e,
};

/* Part 2, section 6.6, without the number of the handle it is about. */
#define TPM2_NO_SUCH_HANDLE 0x8bU	/* TPM_RC_HANDLE */

struct tpm2_command {
	const char *name;	/* for faults */
	struct tpm2_writer out;
	unsigned sessions;	/* in its authorization area */
	uint32_t refusal;	/* the response code if the TPM refused, or 0 */
	uint32_t handle;	/* in the response, where one is wanted */
};

/* Begin a command in TPM's room.  Handles come next, then tpm2_authorize for
 * each of those that need it, between tpm2_open_size and tpm2_close_size of
 * width 4; then parameters. */
void tpm2_begin_command(struct tpm2 *tpm, struct tpm2_command *command,
			const char *name, enum tpm2_code code,
			unsigned sessions);
void tpm2_authorize(struct tpm2_command *command, uint32_t session);
/* An authorization area of one empty password. */
void tpm2_authorize_by_nothing(struct tpm2_command *command);

/*
 * Send it and wait.  Returns 0 with READER at the response's parameters, which
 * lie in TPM until the next command, or -1 with FAULT filled.  A TPM that is
 * busy is asked again.
 */
int tpm2_run(struct tpm2 *tpm, struct tpm2_command *command, int wants_handle,
	     struct tpm2_reader *reader, struct guest_fault *fault);

/* The fault of a response whose parameters are not what they should be. */
int tpm2_malformed(const struct tpm2_command *command,
		   struct guest_fault *fault);

#endif
