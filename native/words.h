/*
 * Which words of some data may be addresses: numbers in one range, at places
 * where a pointer can lie.
 */
#ifndef SHIM_WORDS_H
#define SHIM_WORDS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Look at the 8 bytes at BYTES + FIRST, FIRST + 8 and so on, as far as they end
 * before BYTES + SIZE.  Of those that hold a number from LOWEST up to HIGHEST,
 * the first ROOM are written to OFFSETS and VALUES.  Returns how many there
 * are, which may be more.
 */
size_t words_find(const uint8_t *bytes, size_t size, size_t first,
		  uint64_t lowest, uint64_t highest, uint64_t *offsets,
		  uint64_t *values, size_t room);

#endif
