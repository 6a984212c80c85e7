/* SHA-256 (FIPS 180-4, section 6.2), by the CPU's instructions where it has them. */
#ifndef SHIM_SHA256_H
#define SHIM_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define SHA256_BLOCK 64

typedef void sha256_blocks(uint32_t state[8], const uint8_t *blocks,
			   size_t count);

struct sha256 {
	sha256_blocks *compress;
	uint32_t state[8];
	uint64_t size;			/* bytes so far */
	uint8_t pending[SHA256_BLOCK];	/* size % 64 of them are meant */
};

extern const uint32_t sha256_constants[64];

/* Both compute the same; only sha256_blocks_fast needs sha256_cpu_is_fast. */
sha256_blocks sha256_blocks_portable;
sha256_blocks sha256_blocks_fast;
int sha256_cpu_is_fast(void);

/*
 * Find the same out by trying, before sha256_cpu_is_fast is asked: a tenth of
 * the time where cpuid traps.  Only for a process with one thread, which does
 * not use SIGILL.
 */
void sha256_try_cpu(void);

void sha256_begin(struct sha256 *hash, sha256_blocks *compress);
void sha256_add(struct sha256 *hash, const uint8_t *bytes, size_t size);
void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_SIZE]);

#endif
