/* The signature comes first: nothing is computed with bytes of a stranger. */
#include <string.h>

#include <sodium.h>

#include "release.h"

#define LABEL_SIZE 16

/* Each hash input begins with what nothing else begins with. */
static const char report_label[LABEL_SIZE] = "shim report/v1";
static const char release_label[LABEL_SIZE] = "shim release/v1";
static const char info_label[LABEL_SIZE] = "shim secret/v1";
static const char proof_label[LABEL_SIZE] = "shim proof/v1";
static const char records_key[] = "shim records/v1 key";
static const char records_nonce[] = "shim records/v1 nonce";

_Static_assert(crypto_hash_sha512_BYTES == FRAME_REPORT_DATA_SIZE, "SHA-512");
_Static_assert(crypto_hash_sha256_BYTES == FRAME_DIGEST_SIZE, "SHA-256");
_Static_assert(crypto_auth_hmacsha256_BYTES == FRAME_PROOF_SIZE, "SHA-256");
_Static_assert(crypto_sign_ed25519_BYTES == FRAME_SIGNATURE_SIZE, "Ed25519");
_Static_assert(crypto_sign_ed25519_PUBLICKEYBYTES == FRAME_KEY_SIZE, "Ed25519");
_Static_assert(HPKE_KEY_SIZE == FRAME_KEY_SIZE, "X25519");
_Static_assert(HPKE_TAG_SIZE == FRAME_TAG_SIZE, "Poly1305");

void release_report_data(uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			 const uint8_t nonce[FRAME_NONCE_SIZE],
			 const uint8_t public_key[FRAME_KEY_SIZE],
			 const uint8_t plan_digest[FRAME_DIGEST_SIZE])
{
	uint8_t input[LABEL_SIZE + FRAME_NONCE_SIZE + FRAME_KEY_SIZE +
		      FRAME_DIGEST_SIZE];
	uint8_t *at = input;

	memcpy(at, report_label, LABEL_SIZE);
	memcpy(at += LABEL_SIZE, nonce, FRAME_NONCE_SIZE);
	memcpy(at += FRAME_NONCE_SIZE, public_key, FRAME_KEY_SIZE);
	memcpy(at += FRAME_KEY_SIZE, plan_digest, FRAME_DIGEST_SIZE);
	crypto_hash_sha512(report_data, input, sizeof(input));
}

static void add(crypto_hash_sha256_state *hash, const void *bytes, size_t size)
{
	crypto_hash_sha256_update(hash, bytes, size); /* cannot fail */
}

void release_digest(uint8_t digest[FRAME_DIGEST_SIZE],
		    const struct release_terms *terms,
		    const uint8_t enc[FRAME_KEY_SIZE],
		    const uint8_t *ciphertext, size_t size)
{
	crypto_hash_sha256_state hash;

	crypto_hash_sha256_init(&hash);
	add(&hash, release_label, LABEL_SIZE);
	add(&hash, terms->evidence, FRAME_DIGEST_SIZE);
	add(&hash, terms->nonce, FRAME_NONCE_SIZE);
	add(&hash, enc, FRAME_KEY_SIZE);
	add(&hash, ciphertext, size);
	crypto_hash_sha256_final(&hash, digest);
}

void release_proof(uint8_t proof[FRAME_PROOF_SIZE],
		   const struct release_terms *terms,
		   const uint8_t key[RELEASE_PROOF_KEY_SIZE])
{
	crypto_auth_hmacsha256_state mac;

	crypto_auth_hmacsha256_init(&mac, key, RELEASE_PROOF_KEY_SIZE);
	crypto_auth_hmacsha256_update(&mac, (const uint8_t *)proof_label,
				      LABEL_SIZE);
	crypto_auth_hmacsha256_update(&mac, terms->nonce, FRAME_NONCE_SIZE);
	crypto_auth_hmacsha256_update(&mac, terms->evidence,
				      FRAME_DIGEST_SIZE);
	crypto_auth_hmacsha256_final(&mac, proof);
	sodium_memzero(&mac, sizeof(mac));
}

void release_info(uint8_t info[RELEASE_INFO_SIZE],
		  const struct release_terms *terms)
{
	memcpy(info, info_label, LABEL_SIZE);
	memcpy(info + LABEL_SIZE, terms->nonce, FRAME_NONCE_SIZE);
	memcpy(info + LABEL_SIZE + FRAME_NONCE_SIZE, terms->evidence,
	       FRAME_DIGEST_SIZE);
}

static int export_records(const struct hpke *hpke, struct sealing *records)
{
	records->sequence = 0;
	return hpke_export(hpke, records_key, sizeof(records_key) - 1,
			   records->key, sizeof(records->key)) != 0 ||
	       hpke_export(hpke, records_nonce, sizeof(records_nonce) - 1,
			   records->base_nonce,
			   sizeof(records->base_nonce)) != 0;
}

int release_open(const struct release_terms *terms, uint8_t *body, size_t size,
		 const uint8_t **secret, size_t *secret_size,
		 struct sealing *records, struct guest_fault *fault)
{
	const uint8_t *enc = body;
	const uint8_t *signature = body + FRAME_KEY_SIZE;
	uint8_t *ciphertext = body + FRAME_RELEASE_HEAD;
	uint8_t digest[FRAME_DIGEST_SIZE];
	uint8_t info[RELEASE_INFO_SIZE];
	struct hpke hpke;
	int refused;

	if (size < FRAME_MIN_RELEASE || size > FRAME_MAX_RELEASE)
		return guest_fault_number(fault, "release", size,
					  "112 to 65648 bytes");
	size -= FRAME_RELEASE_HEAD;
	release_digest(digest, terms, enc, ciphertext, size);
	if (crypto_sign_ed25519_verify_detached(signature, digest,
						sizeof(digest),
						terms->relying_party) != 0)
		return guest_fault(fault, "release.signature", "another's",
				   "the plan's relying party's, over this "
				   "evidence and nonce");
	release_info(info, terms);
	if (hpke_receive(&hpke, terms->private_key, terms->public_key, enc,
			 info, sizeof(info)) != 0)
		return guest_fault(fault, "release.enc", "a point of low order",
				   "a public key of X25519");
	refused = sealing_open(&hpke.sealing, NULL, 0, ciphertext, size,
			       ciphertext) != 0 ||
		  export_records(&hpke, records);
	sodium_memzero(&hpke, sizeof(hpke));
	if (refused) {
		sodium_memzero(body, size + FRAME_RELEASE_HEAD);
		sodium_memzero(records, sizeof(*records));
		return guest_fault(fault, "release.ciphertext", "another key's",
				   "a secret sealed to this guest");
	}
	*secret = ciphertext;
	*secret_size = size - FRAME_TAG_SIZE;
	return 0;
}
