/* HPKE in terms of libsodium, which has all of its parts but not the whole. */
#include <string.h>

#include <sodium.h>

#include "hpke.h"

_Static_assert(crypto_scalarmult_curve25519_BYTES == HPKE_KEY_SIZE, "Ndh");
_Static_assert(crypto_auth_hmacsha256_BYTES == HPKE_KEY_SIZE, "Nh");
_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == HPKE_KEY_SIZE,
	       "Nk");
_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == HPKE_NONCE_SIZE,
	       "Nn");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == HPKE_TAG_SIZE, "Nt");

struct suite {
	uint8_t id[10];
	size_t size;
};

/* Sections 4.1 and 5.1: the KEM has an identity of its own. */
static const struct suite kem = { "KEM\x00\x20", 5 };
static const struct suite hpke_suite = { "HPKE\x00\x20\x00\x01\x00\x03", 10 };

static const uint8_t none[1]; /* empty, and yet somewhere */

static void add(crypto_auth_hmacsha256_state *mac, const void *bytes,
		size_t size)
{
	crypto_auth_hmacsha256_update(mac, bytes, size); /* cannot fail */
}

static void add_label(crypto_auth_hmacsha256_state *mac,
		      const struct suite *suite, const char *label)
{
	add(mac, "HPKE-v1", 7);
	add(mac, suite->id, suite->size);
	add(mac, label, strlen(label));
}

/* LabeledExtract, section 4. */
static void extract(uint8_t out[HPKE_KEY_SIZE], const struct suite *suite,
		    const uint8_t *salt, size_t salt_size, const char *label,
		    const uint8_t *input, size_t size)
{
	crypto_auth_hmacsha256_state mac;

	crypto_auth_hmacsha256_init(&mac, salt, salt_size);
	add_label(&mac, suite, label);
	add(&mac, input, size);
	crypto_auth_hmacsha256_final(&mac, out);
	sodium_memzero(&mac, sizeof(mac));
}

/* LabeledExpand, section 4; SIZE is at most HPKE_MAX_EXPORT. */
static void expand(uint8_t *out, size_t size, const struct suite *suite,
		   const uint8_t key[HPKE_KEY_SIZE], const char *label,
		   const void *info, size_t info_size)
{
	const uint8_t length[2] = { (uint8_t)(size >> 8), (uint8_t)size };
	crypto_auth_hmacsha256_state mac;
	uint8_t block[HPKE_KEY_SIZE];
	uint8_t count = 0;

	for (size_t done = 0; done < size; done += sizeof(block)) {
		size_t more = size - done < sizeof(block) ? size - done
							  : sizeof(block);

		crypto_auth_hmacsha256_init(&mac, key, HPKE_KEY_SIZE);
		if (count++ != 0)
			add(&mac, block, sizeof(block));
		add(&mac, length, sizeof(length));
		add_label(&mac, suite, label);
		add(&mac, info, info_size);
		add(&mac, &count, 1);
		crypto_auth_hmacsha256_final(&mac, block);
		memcpy(out + done, block, more);
	}
	sodium_memzero(&mac, sizeof(mac));
	sodium_memzero(block, sizeof(block));
}

void hpke_shared_secret(uint8_t shared_secret[HPKE_KEY_SIZE],
			const uint8_t product[HPKE_KEY_SIZE],
			const uint8_t enc[HPKE_KEY_SIZE],
			const uint8_t public_key[HPKE_KEY_SIZE])
{
	uint8_t context[2 * HPKE_KEY_SIZE];
	uint8_t key[HPKE_KEY_SIZE];

	memcpy(context, enc, HPKE_KEY_SIZE);
	memcpy(context + HPKE_KEY_SIZE, public_key, HPKE_KEY_SIZE);
	extract(key, &kem, none, 0, "eae_prk", product, HPKE_KEY_SIZE);
	expand(shared_secret, HPKE_KEY_SIZE, &kem, key, "shared_secret",
	       context, sizeof(context));
	sodium_memzero(key, sizeof(key));
}

void hpke_schedule(struct hpke *hpke,
		   const uint8_t shared_secret[HPKE_KEY_SIZE],
		   const uint8_t *info, size_t info_size)
{
	uint8_t context[1 + 2 * HPKE_KEY_SIZE] = { 0 /* mode base */ };
	uint8_t secret[HPKE_KEY_SIZE];

	extract(context + 1, &hpke_suite, none, 0, "psk_id_hash", none, 0);
	extract(context + 1 + HPKE_KEY_SIZE, &hpke_suite, none, 0, "info_hash",
		info, info_size);
	extract(secret, &hpke_suite, shared_secret, HPKE_KEY_SIZE, "secret",
		none, 0);
	expand(hpke->sealing.key, sizeof(hpke->sealing.key), &hpke_suite,
	       secret, "key", context, sizeof(context));
	expand(hpke->sealing.base_nonce, sizeof(hpke->sealing.base_nonce),
	       &hpke_suite, secret, "base_nonce", context, sizeof(context));
	expand(hpke->exporter_secret, sizeof(hpke->exporter_secret),
	       &hpke_suite, secret, "exp", context, sizeof(context));
	hpke->sealing.sequence = 0;
	sodium_memzero(secret, sizeof(secret));
}

int hpke_receive(struct hpke *hpke, const uint8_t private_key[HPKE_KEY_SIZE],
		 const uint8_t public_key[HPKE_KEY_SIZE],
		 const uint8_t enc[HPKE_KEY_SIZE], const uint8_t *info,
		 size_t info_size)
{
	uint8_t product[HPKE_KEY_SIZE];
	uint8_t shared_secret[HPKE_KEY_SIZE];

	/* Refuses a product of zero. */
	if (crypto_scalarmult_curve25519(product, private_key, enc) != 0)
		return -1;
	hpke_shared_secret(shared_secret, product, enc, public_key);
	hpke_schedule(hpke, shared_secret, info, info_size);
	sodium_memzero(product, sizeof(product));
	sodium_memzero(shared_secret, sizeof(shared_secret));
	return 0;
}

int hpke_export(const struct hpke *hpke, const void *context,
		size_t context_size, uint8_t *secret, size_t size)
{
	if (size > HPKE_MAX_EXPORT)
		return -1;
	expand(secret, size, &hpke_suite, hpke->exporter_secret, "sec", context,
	       context_size);
	return 0;
}

/* ComputeNonce, section 5.2: the sequence stands in the last eight bytes. */
static void next_nonce(uint8_t nonce[HPKE_NONCE_SIZE],
		       const struct sealing *sealing)
{
	memcpy(nonce, sealing->base_nonce, HPKE_NONCE_SIZE);
	for (size_t i = 0; i < 8; i++)
		nonce[HPKE_NONCE_SIZE - 1 - i] ^=
			(uint8_t)(sealing->sequence >> (8 * i));
}

int sealing_seal(struct sealing *sealing, const uint8_t *aad, size_t aad_size,
		 const uint8_t *in, size_t size, uint8_t *out)
{
	uint8_t nonce[HPKE_NONCE_SIZE];

	if (sealing->sequence == UINT64_MAX)
		return -1;
	next_nonce(nonce, sealing);
	if (crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, size, aad,
						      aad_size, NULL, nonce,
						      sealing->key) != 0)
		return -1;
	sealing->sequence++;
	return 0;
}

int sealing_open(struct sealing *sealing, const uint8_t *aad, size_t aad_size,
		 const uint8_t *in, size_t size, uint8_t *out)
{
	uint8_t nonce[HPKE_NONCE_SIZE];

	if (sealing->sequence == UINT64_MAX || size < HPKE_TAG_SIZE)
		return -1;
	next_nonce(nonce, sealing);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, size,
						      aad, aad_size, nonce,
						      sealing->key) != 0)
		return -1;
	sealing->sequence++;
	return 0;
}
