/*
 * HPKE (RFC 9180) as far as a guest needs it: the recipient's side of mode base,
 * with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305.
 */
#ifndef SHIM_HPKE_H
#define SHIM_HPKE_H

#include <stddef.h>
#include <stdint.h>

#define HPKE_KEY_SIZE 32	/* Nsk, Npk, Nenc, Nsecret, Nk and Nh are all 32 */
#define HPKE_NONCE_SIZE 12
#define HPKE_TAG_SIZE 16
#define HPKE_MAX_EXPORT 128	/* RFC 9180 has 255 * 32; nobody needs them here */

/* A key, and how often it was used: each nonce exactly once. */
struct sealing {
	uint8_t key[HPKE_KEY_SIZE];
	uint8_t base_nonce[HPKE_NONCE_SIZE];
	uint64_t sequence;
};

struct hpke {
	struct sealing sealing;
	uint8_t exporter_secret[HPKE_KEY_SIZE];
};

/*
 * SetupBaseR (section 5.1.1).  Returns 0, or -1 if ENC is a point for which every
 * private key leads to the same secret (section 7.1.4).
 */
int hpke_receive(struct hpke *hpke, const uint8_t private_key[HPKE_KEY_SIZE],
		 const uint8_t public_key[HPKE_KEY_SIZE],
		 const uint8_t enc[HPKE_KEY_SIZE], const uint8_t *info,
		 size_t info_size);

/* KeySchedule of mode base (section 5.1), from what DHKEM has led to. */
void hpke_schedule(struct hpke *hpke,
		   const uint8_t shared_secret[HPKE_KEY_SIZE],
		   const uint8_t *info, size_t info_size);

/* The shared secret of DHKEM (section 4.1) from the product of the two keys. */
void hpke_shared_secret(uint8_t shared_secret[HPKE_KEY_SIZE],
			const uint8_t product[HPKE_KEY_SIZE],
			const uint8_t enc[HPKE_KEY_SIZE],
			const uint8_t public_key[HPKE_KEY_SIZE]);

/* Context.Export (section 5.3).  Returns 0, or -1 above HPKE_MAX_EXPORT. */
int hpke_export(const struct hpke *hpke, const void *context,
		size_t context_size, uint8_t *secret, size_t size);

/*
 * ContextS.Seal and ContextR.Open (section 5.2), for a context of HPKE and for keys
 * that it exported.  OUT may be IN.  Sealing adds HPKE_TAG_SIZE, opening takes
 * them off.  Each returns 0, or -1 with nothing of the message in OUT: the key did
 * not seal it at this place in the sequence, or the sequence is used up.
 */
int sealing_seal(struct sealing *sealing, const uint8_t *aad, size_t aad_size,
		 const uint8_t *in, size_t size, uint8_t *out);
int sealing_open(struct sealing *sealing, const uint8_t *aad, size_t aad_size,
		 const uint8_t *in, size_t size, uint8_t *out);

#endif
