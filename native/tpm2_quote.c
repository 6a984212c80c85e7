/*
 * A quote holds a digest over registers, not the registers: they are read before
 * it, and if something was extended in between, both are taken again.
 */
#include "tpm2_quote.h"

#include <string.h>

#include <sodium.h>

#include "tpm2_command.h"

enum { ATTEMPTS = 5, SELECT_SIZE = 3 };

_Static_assert(TPM2_REGISTERS == 8 * SELECT_SIZE, "all registers");
_Static_assert(TPM2_DIGEST_SIZE == crypto_hash_sha256_BYTES, "SHA-256");

/* TPML_PCR_SELECTION of the SHA-256 bank; bit N of WANTED is register N. */
static void put_selection(struct tpm2_writer *out, uint32_t wanted)
{
	tpm2_put32(out, 1);
	tpm2_put16(out, TPM2_ALG_SHA256);
	tpm2_put8(out, SELECT_SIZE);
	for (int i = 0; i < SELECT_SIZE; i++)
		tpm2_put8(out, (uint8_t)(wanted >> 8 * i));
}

/* Returns which registers a response is about; 0 if that cannot be read. */
static uint32_t take_selection(struct tpm2_reader *reader)
{
	uint32_t found = 0;

	if (tpm2_take32(reader) != 1 ||
	    tpm2_take16(reader) != TPM2_ALG_SHA256 ||
	    tpm2_take8(reader) != SELECT_SIZE)
		return 0;
	for (int i = 0; i < SELECT_SIZE; i++)
		found |= (uint32_t)tpm2_take8(reader) << 8 * i;
	return found;
}

/* Read some of the registers WANTED; a TPM returns as many as fit.  Returns them,
 * or 0 with FAULT filled. */
static uint32_t read_some(struct tpm2 *tpm, uint32_t wanted,
			  struct tpm2_quote *quote, struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	uint32_t found;
	uint32_t count;

	tpm2_begin_command(tpm, &command, "TPM2_PCR_Read", TPM2_PCR_READ, 0);
	put_selection(&command.out, wanted);
	if (tpm2_run(tpm, &command, 0, &reader, fault) != 0)
		return 0;
	tpm2_take32(&reader);			/* pcrUpdateCounter */
	found = take_selection(&reader);
	count = tpm2_take32(&reader);
	if (found == 0 || (found & ~wanted) != 0 ||
	    count != (uint32_t)__builtin_popcount(found)) {
		tpm2_malformed(&command, fault);
		return 0;
	}
	for (unsigned i = 0; i < TPM2_REGISTERS; i++) {
		const uint8_t *digest;
		size_t size;

		if ((found >> i & 1) == 0)
			continue;
		digest = tpm2_take_sized(&reader, &size);
		if (digest == NULL || size != TPM2_DIGEST_SIZE) {
			tpm2_malformed(&command, fault);
			return 0;
		}
		memcpy(quote->registers[i], digest, size);
	}
	if (tpm2_is_read(&reader))
		return found;
	tpm2_malformed(&command, fault);
	return 0;
}

static int read_registers(struct tpm2 *tpm, struct tpm2_quote *quote,
			  struct guest_fault *fault)
{
	uint32_t wanted = (UINT32_C(1) << TPM2_REGISTERS) - 1;

	while (wanted != 0) {
		uint32_t found = read_some(tpm, wanted, quote, fault);

		if (found == 0)
			return -1;
		wanted &= ~found;
	}
	return 0;
}

/* TPM2_Quote: part 3, section 18.4. */
static int sign(struct tpm2 *tpm, const uint8_t *qualifying_data,
		struct tpm2_quote *quote, struct guest_fault *fault)
{
	struct tpm2_command command;
	struct tpm2_reader reader;
	const uint8_t *message;

	tpm2_begin_command(tpm, &command, "TPM2_Quote", TPM2_QUOTE, 1);
	tpm2_put32(&command.out, tpm->attestation.handle);
	tpm2_authorize_by_nothing(&command);
	tpm2_put16(&command.out, TPM2_DIGEST_SIZE);
	tpm2_put(&command.out, qualifying_data, TPM2_DIGEST_SIZE);
	tpm2_put16(&command.out, TPM2_ALG_NULL); /* the key's own scheme */
	put_selection(&command.out, (UINT32_C(1) << TPM2_REGISTERS) - 1);
	if (tpm2_run(tpm, &command, 0, &reader, fault) != 0)
		return -1;
	message = tpm2_take_sized(&reader, &quote->message_size);
	if (message == NULL || reader.broken || reader.left == 0 ||
	    quote->message_size < TPM2_DIGEST_SIZE ||
	    quote->message_size > sizeof(quote->message) ||
	    reader.left > sizeof(quote->signature))
		return tpm2_malformed(&command, fault);
	memcpy(quote->message, message, quote->message_size);
	quote->signature_size = reader.left;
	memcpy(quote->signature, reader.at, reader.left);
	return 0;
}

/* The digest is the last part of the message. */
static int is_about_registers(const struct tpm2_quote *quote)
{
	const uint8_t *found = quote->message + quote->message_size -
			       TPM2_DIGEST_SIZE;
	uint8_t digest[TPM2_DIGEST_SIZE];

	crypto_hash_sha256(digest, quote->registers[0],
			   sizeof(quote->registers));
	return memcmp(found, digest, sizeof(digest)) == 0;
}

int tpm2_quote(struct tpm2 *tpm,
	       const uint8_t qualifying_data[TPM2_DIGEST_SIZE],
	       struct tpm2_quote *quote, struct guest_fault *fault)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		if (read_registers(tpm, quote, fault) != 0 ||
		    sign(tpm, qualifying_data, quote, fault) != 0)
			return -1;
		if (is_about_registers(quote))
			return 0;
	}
	return guest_fault(fault, "TPM2_Quote", "registers that change",
			   "the ones that were read");
}
