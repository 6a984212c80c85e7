/*
 * Which keys does a TPM have?  Its endorsement key, of which its maker made a
 * certificate, and an attestation key that signs only what the TPM itself says.
 * Both follow from a seed of the TPM and a template, so they are the same at
 * every boot.
 */
#include "tpm2_keys.h"

#include <string.h>

#include "tpm2_command.h"

/* TCG EK Credential Profile for TPM Family 2.0, version 2.4, section 2.2.1.4:
 * where certificates of the keys lie that everybody can make again. */
enum { INDEX_RSA_2048 = 0x01c00002, INDEX_ECC_P256 = 0x01c0000a };

/* TPMA_OBJECT: TPM 2.0 Library, part 2, section 8.3.2. */
enum {
	FIXED_TPM = 1 << 1, FIXED_PARENT = 1 << 4,
	SENSITIVE_DATA_ORIGIN = 1 << 5, USER_WITH_AUTH = 1 << 6,
	ADMIN_WITH_POLICY = 1 << 7, NO_DA = 1 << 10, RESTRICTED = 1 << 16,
	DECRYPT = 1 << 17, SIGN = 1 << 18,
};

enum { CHUNK = 512, COORDINATE = 32, MODULUS = 256 };

/* PolicyA, of the same profile, section B.6.2: PolicySecret of the endorsement
 * hierarchy. */
static const uint8_t policy_a[32] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d,
	0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64,
	0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

/* Returns 1 with its size if there is such an index, 0 if not. */
static int find_index(struct tpm2 *tpm, uint32_t index, uint16_t *size,
		      struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	struct tpm2_reader public;
	uint32_t found;
	size_t ignored;

	tpm2_begin_command(tpm, &command, "TPM2_NV_ReadPublic",
			   TPM2_NV_READ_PUBLIC, 0);
	tpm2_put32(&command.out, index);
	if (tpm2_run(tpm, &command, 0, &reader, fault) != 0)
		return (command.refusal & 0xbf) == TPM2_NO_SUCH_HANDLE ? 0 : -1;
	public = tpm2_take_part(&reader, tpm2_take16(&reader));
	tpm2_take_sized(&reader, &ignored);	/* name */
	found = tpm2_take32(&public);
	tpm2_take16(&public);			/* nameAlg */
	tpm2_take32(&public);			/* attributes */
	tpm2_take_sized(&public, &ignored);	/* authPolicy */
	*size = tpm2_take16(&public);
	if (!tpm2_is_read(&reader) || !tpm2_is_read(&public) || found != index)
		return tpm2_malformed(&command, fault);
	return 1;
}

/* Everybody may read a certificate: by its own, empty password. */
static int read_index(struct tpm2 *tpm, uint32_t index, uint8_t *bytes,
		      uint16_t size, struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	const uint8_t *part;
	size_t got;

	for (uint16_t done = 0; done < size; done = (uint16_t)(done + got)) {
		uint16_t want = (uint16_t)(size - done);

		if (want > CHUNK)
			want = CHUNK;
		tpm2_begin_command(tpm, &command, "TPM2_NV_Read", TPM2_NV_READ,
				   1);
		tpm2_put32(&command.out, index);
		tpm2_put32(&command.out, index);
		tpm2_authorize_by_nothing(&command);
		tpm2_put16(&command.out, want);
		tpm2_put16(&command.out, done);
		if (tpm2_run(tpm, &command, 0, &reader, fault) != 0)
			return -1;
		part = tpm2_take_sized(&reader, &got);
		if (part == NULL || !tpm2_is_read(&reader) || got != want)
			return tpm2_malformed(&command, fault);
		memcpy(bytes + done, part, got);
	}
	return 0;
}

static void put_endorsement_template(struct tpm2_writer *out, uint16_t kind)
{
	tpm2_put16(out, kind);
	tpm2_put16(out, TPM2_ALG_SHA256);
	tpm2_put32(out, FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN |
		   ADMIN_WITH_POLICY | RESTRICTED | DECRYPT);
	tpm2_put16(out, sizeof(policy_a));
	tpm2_put(out, policy_a, sizeof(policy_a));
	tpm2_put16(out, TPM2_ALG_AES);
	tpm2_put16(out, 128);
	tpm2_put16(out, TPM2_ALG_CFB);
	tpm2_put16(out, TPM2_ALG_NULL);		/* scheme */
	if (kind == TPM2_ALG_RSA) {
		tpm2_put16(out, 2048);
		tpm2_put32(out, 0);		/* exponent: 65537 */
		tpm2_put16(out, MODULUS);
		tpm2_put_zeros(out, MODULUS);
		return;
	}
	tpm2_put16(out, TPM2_ECC_P256);
	tpm2_put16(out, TPM2_ALG_NULL);		/* kdf */
	for (int i = 0; i < 2; i++) {
		tpm2_put16(out, COORDINATE);
		tpm2_put_zeros(out, COORDINATE);
	}
}

static void put_attestation_template(struct tpm2_writer *out)
{
	tpm2_put16(out, TPM2_ALG_ECC);
	tpm2_put16(out, TPM2_ALG_SHA256);
	tpm2_put32(out, FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN |
		   USER_WITH_AUTH | NO_DA | RESTRICTED | SIGN);
	tpm2_put16(out, 0);			/* authPolicy */
	tpm2_put16(out, TPM2_ALG_NULL);		/* symmetric */
	tpm2_put16(out, TPM2_ALG_ECDSA);
	tpm2_put16(out, TPM2_ALG_SHA256);
	tpm2_put16(out, TPM2_ECC_P256);
	tpm2_put16(out, TPM2_ALG_NULL);		/* kdf */
	tpm2_put16(out, 0);
	tpm2_put16(out, 0);
}

/* Take what TPM2_CreatePrimary returns: part 3, section 24.1. */
static int take_key(struct tpm2_command *command, struct tpm2_reader *reader,
		    struct tpm2_key *key, struct guest_fault *fault)
{
	const uint8_t *public;
	size_t ignored;

	key->handle = command->handle;
	public = tpm2_take_sized(reader, &key->size);
	tpm2_take_sized(reader, &ignored);	/* creationData */
	tpm2_take_sized(reader, &ignored);	/* creationHash */
	tpm2_take(reader, 2 + 4);		/* creationTicket */
	tpm2_take_sized(reader, &ignored);
	tpm2_take_sized(reader, &ignored);	/* name */
	if (!tpm2_is_read(reader) || public == NULL || key->size == 0 ||
	    key->size > sizeof(key->public_area)) {
		key->size = 0;
		return tpm2_malformed(command, fault);
	}
	memcpy(key->public_area, public, key->size);
	return 0;
}

/* KIND is that of the endorsement key, or 0 for an attestation key. */
static int make_key(struct tpm2 *tpm, uint16_t kind, struct tpm2_key *key,
		    struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	size_t public;

	tpm2_begin_command(tpm, &command, "TPM2_CreatePrimary",
			   TPM2_CREATE_PRIMARY, 1);
	tpm2_put32(&command.out, TPM2_RH_ENDORSEMENT);
	tpm2_authorize_by_nothing(&command);
	tpm2_put16(&command.out, 4);		/* inSensitive: */
	tpm2_put32(&command.out, 0);		/* no password, no data */
	public = tpm2_open_size(&command.out, 2);
	if (kind != 0)
		put_endorsement_template(&command.out, kind);
	else
		put_attestation_template(&command.out);
	tpm2_close_size(&command.out, public, 2);
	tpm2_put16(&command.out, 0);		/* outsideInfo */
	tpm2_put32(&command.out, 0);		/* creationPCR */
	if (tpm2_run(tpm, &command, 1, &reader, fault) != 0)
		return -1;
	return take_key(&command, &reader, key, fault);
}

int tpm2_make_keys(struct tpm2 *tpm, struct guest_fault *fault)
{
	uint32_t index = INDEX_ECC_P256;
	uint16_t kind = TPM2_ALG_ECC;
	uint16_t size = 0;
	int found = find_index(tpm, index, &size, fault);

	if (found == 0) {
		index = INDEX_RSA_2048;
		kind = TPM2_ALG_RSA;
		found = find_index(tpm, index, &size, fault);
	}
	if (found < 0)
		return -1;
	if (found == 0)
		return guest_fault(fault, "endorsement certificate", "none",
				   "one at index 0x01c0000a or 0x01c00002");
	if (size == 0 || size > sizeof(tpm->certificate))
		return guest_fault_number(fault, "endorsement certificate",
					  size, "1 to 3072 bytes");
	if (read_index(tpm, index, tpm->certificate, size, fault) != 0)
		return -1;
	tpm->certificate_size = size;
	if (make_key(tpm, kind, &tpm->endorsement, fault) != 0)
		return -1;
	return make_key(tpm, 0, &tpm->attestation, fault);
}

void tpm2_flush(struct tpm2 *tpm, uint32_t handle)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	struct guest_fault ignored;

	tpm2_begin_command(tpm, &command, "TPM2_FlushContext",
			   TPM2_FLUSH_CONTEXT, 0);
	tpm2_put32(&command.out, handle);
	(void)tpm2_run(tpm, &command, 0, &reader, &ignored);
}
