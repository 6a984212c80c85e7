/* Bytes of a plan to numbers: little-endian, any alignment, no casts. */
#ifndef SHIM_LOAD_H
#define SHIM_LOAD_H

#include <stdint.h>

static inline uint16_t load16_le(const uint8_t at[2])
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t load32_le(const uint8_t at[4])
{
	return (uint32_t)load16_le(at) | (uint32_t)load16_le(at + 2) << 16;
}

static inline uint64_t load64_le(const uint8_t at[8])
{
	return (uint64_t)load32_le(at) | (uint64_t)load32_le(at + 4) << 32;
}

static inline uint32_t load32_be(const uint8_t at[4])
{
	return __builtin_bswap32(load32_le(at));
}

static inline void store32_le(uint8_t at[4], uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

static inline void store32_be(uint8_t at[4], uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

#endif
