/*
 * A credential is a secret for the TPM that has two keys: sealed to the one, it
 * opens only if the other is there too.  TPM 2.0 Library, part 1, section 24.
 */
#include <string.h>

#include <sodium.h>

#include "sys.h"
#include "tpm2.h"
#include "tpm2_command.h"
#include "tpm2_keys.h"

enum {
	SESSION_POLICY = 1,	/* TPM_SE_POLICY */
	NONCE_SIZE = 16,	/* the least that is allowed */
};

/* TPM2_StartAuthSession: part 3, section 11.1.  Nothing is sealed by its nonce. */
static int start_session(struct tpm2 *tpm, uint32_t *session,
			 struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	size_t ignored;

	tpm2_begin_command(tpm, &command, "TPM2_StartAuthSession",
			   TPM2_START_AUTH_SESSION, 0);
	tpm2_put32(&command.out, TPM2_RH_NULL);		/* tpmKey */
	tpm2_put32(&command.out, TPM2_RH_NULL);		/* bind */
	tpm2_put16(&command.out, NONCE_SIZE);
	tpm2_put_zeros(&command.out, NONCE_SIZE);
	tpm2_put16(&command.out, 0);			/* encryptedSalt */
	tpm2_put8(&command.out, SESSION_POLICY);
	tpm2_put16(&command.out, TPM2_ALG_NULL);	/* symmetric */
	tpm2_put16(&command.out, TPM2_ALG_SHA256);
	if (tpm2_run(tpm, &command, 1, &reader, fault) != 0)
		return -1;
	*session = command.handle;
	tpm2_take_sized(&reader, &ignored);		/* nonceTPM */
	return tpm2_is_read(&reader) ? 0 : tpm2_malformed(&command, fault);
}

/* TPM2_PolicySecret: part 3, section 23.4; what an endorsement key wants. */
static int satisfy_policy(struct tpm2 *tpm, uint32_t session,
			  struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;

	tpm2_begin_command(tpm, &command, "TPM2_PolicySecret",
			   TPM2_POLICY_SECRET, 1);
	tpm2_put32(&command.out, TPM2_RH_ENDORSEMENT);
	tpm2_put32(&command.out, session);
	tpm2_authorize_by_nothing(&command);
	tpm2_put16(&command.out, 0);	/* nonceTPM */
	tpm2_put16(&command.out, 0);	/* cpHashA */
	tpm2_put16(&command.out, 0);	/* policyRef */
	tpm2_put32(&command.out, 0);	/* expiration: none */
	return tpm2_run(tpm, &command, 0, &reader, fault);
}

/* TPM2_ActivateCredential: part 3, section 12.5.  The session ends with it. */
static int open_credential(struct tpm2 *tpm, uint32_t session,
			   const uint8_t *credential, size_t size,
			   uint8_t *secret, struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	const uint8_t *found;
	size_t area;
	size_t got;

	tpm2_begin_command(tpm, &command, "TPM2_ActivateCredential",
			   TPM2_ACTIVATE_CREDENTIAL, 2);
	tpm2_put32(&command.out, tpm->attestation.handle);
	tpm2_put32(&command.out, tpm->endorsement.handle);
	area = tpm2_open_size(&command.out, 4);
	tpm2_authorize(&command, TPM2_RS_PASSWORD);
	tpm2_authorize(&command, session);
	tpm2_close_size(&command.out, area, 4);
	tpm2_put(&command.out, credential, size);
	if (tpm2_run(tpm, &command, 0, &reader, fault) != 0)
		return -1;
	found = tpm2_take_sized(&reader, &got);
	if (found == NULL || !tpm2_is_read(&reader))
		return tpm2_malformed(&command, fault);
	if (got != TPM2_SECRET_SIZE)
		return guest_fault_number(fault, "credential.secret", got,
					  "32 bytes");
	memcpy(secret, found, TPM2_SECRET_SIZE);
	return 0;
}

/* Two sized parts and nothing behind them, before a TPM sees them. */
static int check_shape(const uint8_t *credential, size_t size,
		       struct guest_fault *fault)
{
	struct tpm2_reader reader = { credential, size, 0 };
	size_t id_object;
	size_t secret;

	tpm2_take_sized(&reader, &id_object);
	tpm2_take_sized(&reader, &secret);
	if (tpm2_is_read(&reader) && id_object != 0 && secret != 0)
		return 0;
	return guest_fault_number(fault, "credential", size,
				  "TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET");
}

int tpm2_activate(struct tpm2 *tpm, const uint8_t *credential, size_t size,
		  uint8_t secret[TPM2_SECRET_SIZE], struct guest_fault *fault)
{
	uint32_t session = 0;
	int failed;

	if (check_shape(credential, size, fault) != 0)
		return -1;
	failed = start_session(tpm, &session, fault) != 0 ||
		 satisfy_policy(tpm, session, fault) != 0 ||
		 open_credential(tpm, session, credential, size, secret,
				 fault) != 0;
	if (failed && session != 0)
		tpm2_flush(tpm, session);
	sodium_memzero(tpm->response, sizeof(tpm->response));
	return failed ? -1 : 0;
}
