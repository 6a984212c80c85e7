/* What is the SHA-256 of these bytes?  Portable C. */
#include "sha256.h"

#include <string.h>

#include "load.h"

const uint32_t sha256_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_state[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotate(uint32_t word, unsigned bits)
{
	return word >> bits | word << (32 - bits);
}

static void expand_schedule(uint32_t w[64], const uint8_t block[SHA256_BLOCK])
{
	for (int t = 0; t < 16; t++)
		w[t] = load32_be(block + 4 * t);
	for (int t = 16; t < 64; t++) {
		uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^
			      w[t - 15] >> 3;
		uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^
			      w[t - 2] >> 10;

		w[t] = w[t - 16] + s0 + w[t - 7] + s1;
	}
}

/* Variables a to h are v[0] to v[7]. */
static void compress_block(uint32_t state[8], const uint8_t block[SHA256_BLOCK])
{
	uint32_t w[64];
	uint32_t v[8];

	expand_schedule(w, block);
	memcpy(v, state, sizeof(v));
#pragma GCC unroll 8	/* then the moves at the end are names, not work */
	for (int t = 0; t < 64; t++) {
		uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^
			      rotate(v[4], 25);
		uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t t1 = v[7] + s1 + choice + sha256_constants[t] + w[t];
		uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^
			      rotate(v[0], 22);
		uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^
				    (v[1] & v[2]);

		v[7] = v[6];
		v[6] = v[5];
		v[5] = v[4];
		v[4] = v[3] + t1;
		v[3] = v[2];
		v[2] = v[1];
		v[1] = v[0];
		v[0] = t1 + s0 + majority;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_blocks_portable(uint32_t state[8], const uint8_t *blocks,
			    size_t count)
{
	for (size_t i = 0; i < count; i++)
		compress_block(state, blocks + i * SHA256_BLOCK);
}

void sha256_begin(struct sha256 *hash, sha256_blocks *compress)
{
	hash->compress = compress;
	hash->size = 0;
	memcpy(hash->state, initial_state, sizeof(initial_state));
}

void sha256_add(struct sha256 *hash, const uint8_t *bytes, size_t size)
{
	size_t pending = hash->size % SHA256_BLOCK;

	hash->size += size;
	if (pending > 0) {
		size_t room = SHA256_BLOCK - pending;
		size_t taken = size < room ? size : room;

		memcpy(hash->pending + pending, bytes, taken);
		if (taken < room)
			return;
		hash->compress(hash->state, hash->pending, 1);
		bytes += taken;
		size -= taken;
	}
	hash->compress(hash->state, bytes, size / SHA256_BLOCK);
	memcpy(hash->pending, bytes + size - size % SHA256_BLOCK,
	       size % SHA256_BLOCK);
}

void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_SIZE])
{
	uint64_t bits = hash->size * 8;
	uint8_t tail[SHA256_BLOCK + 8] = { 0x80 };
	size_t zeros = (119 - hash->size % SHA256_BLOCK) % SHA256_BLOCK;

	store32_be(tail + 1 + zeros, (uint32_t)(bits >> 32));
	store32_be(tail + 5 + zeros, (uint32_t)bits);
	sha256_add(hash, tail, zeros + 9);
	for (int i = 0; i < 8; i++)
		store32_be(digest + 4 * i, hash->state[i]);
}
