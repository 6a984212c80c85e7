#include "words.h"

#include "load.h"

size_t words_find(const uint8_t *bytes, size_t size, size_t first,
		  uint64_t lowest, uint64_t highest, uint64_t *offsets,
		  uint64_t *values, size_t room)
{
	size_t found = 0;

	for (size_t at = first; at < size && size - at >= 8; at += 8) {
		uint64_t value = load64_le(bytes + at);

		if (value < lowest || value >= highest)
			continue;
		if (found < room) {
			offsets[found] = at;
			values[found] = value;
		}
		found++;
	}
	return found;
}
