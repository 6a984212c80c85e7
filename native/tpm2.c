/* A TPM's evidence, from its keys to the object that a relying party reads. */
#include "tpm2.h"

#include <string.h>

#include <sodium.h>

#include "channel.h"
#include "tpm2_keys.h"
#include "tpm2_quote.h"
#include "tpm2_wire.h"

int tpm2_begin(struct tpm2 *tpm, int fd, struct guest_fault *fault)
{
	memset(tpm, 0, sizeof(*tpm));
	tpm->fd = fd;
	if (channel_prepare(fd, fault) == 0 && tpm2_make_keys(tpm, fault) == 0)
		return 0;
	tpm2_end(tpm);
	return -1;
}

static void put_text(struct tpm2_writer *out, const char *text)
{
	tpm2_put(out, text, strlen(text));
}

static void put_member(struct tpm2_writer *out, const char *before,
		       const uint8_t *bytes, size_t size)
{
	put_text(out, before);
	for (size_t i = 0; i < size; i++) {
		tpm2_put8(out, (uint8_t)"0123456789abcdef"[bytes[i] >> 4]);
		tpm2_put8(out, (uint8_t)"0123456789abcdef"[bytes[i] & 15]);
	}
	put_text(out, "\"");
}

int tpm2_collect(struct tpm2 *tpm,
		 const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		 uint8_t room[TPM2_EVIDENCE_ROOM], size_t *size,
		 struct guest_fault *fault)
{
	struct tpm2_writer out = { room, TPM2_EVIDENCE_ROOM, 0, 0 };
	uint8_t qualifying_data[TPM2_DIGEST_SIZE];
	struct tpm2_quote quote;

	/* A TPM takes no 64 bytes: attestation/tpm/kind.py, bound. */
	crypto_hash_sha256(qualifying_data, report_data,
			   FRAME_REPORT_DATA_SIZE);
	if (tpm2_quote(tpm, qualifying_data, &quote, fault) != 0)
		return -1;
	put_member(&out, "{\"ak_public\":\"", tpm->attestation.public_area,
		   tpm->attestation.size);
	put_member(&out, ",\"ek_certificate\":\"", tpm->certificate,
		   tpm->certificate_size);
	put_member(&out, ",\"ek_public\":\"", tpm->endorsement.public_area,
		   tpm->endorsement.size);
	put_member(&out, ",\"pcrs\":\"", quote.registers[0],
		   sizeof(quote.registers));
	put_member(&out, ",\"quote\":\"", quote.message, quote.message_size);
	put_member(&out, ",\"signature\":\"", quote.signature,
		   quote.signature_size);
	put_text(&out, "}");
	*size = out.size;
	return out.overflown ? guest_fault(fault, "evidence", "too much of it",
					   "at most 16384 bytes") : 0;
}

void tpm2_end(struct tpm2 *tpm)
{
	struct tpm2_key *keys[] = { &tpm->attestation, &tpm->endorsement };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i]->handle != 0)
			tpm2_flush(tpm, keys[i]->handle);
		keys[i]->handle = 0;
	}
}
