/* Lines of text in fixed room, without a formatter. */
#ifndef SHIM_TEXT_H
#define SHIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* What does not fit is cut; the text always ends in a NUL. */
struct text {
	char *at;
	size_t room;	/* bytes, at least 1 */
	size_t size;
};

static inline void text_add(struct text *text, const char *more)
{
	while (*more != 0 && text->size + 1 < text->room)
		text->at[text->size++] = *more++;
	text->at[text->size] = 0;
}

static inline void text_add_decimal(struct text *text, uint64_t value)
{
	char digits[21];
	size_t at = sizeof(digits) - 1;

	digits[at] = 0;
	do
		digits[--at] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	text_add(text, digits + at);
}

static inline void text_add_signed(struct text *text, int64_t value)
{
	if (value < 0)
		text_add(text, "-");
	text_add_decimal(text, value < 0 ? 0 - (uint64_t)value
					 : (uint64_t)value);
}

static inline void text_add_bare_hex(struct text *text, uint64_t value)
{
	char digits[19];
	size_t at = sizeof(digits) - 1;

	digits[at] = 0;
	do
		digits[--at] = "0123456789abcdef"[value % 16];
	while ((value /= 16) != 0);
	text_add(text, digits + at);
}

static inline void text_add_hex(struct text *text, uint64_t value)
{
	text_add(text, "0x");
	text_add_bare_hex(text, value);
}

/* Bytes of others: what is not printable ASCII, a quote or a backslash is
 * written as \xNN, so that they cannot steer a terminal. */
static inline void text_add_quoted(struct text *text, const void *bytes,
				   size_t size)
{
	const uint8_t *byte = bytes;
	char plain[2] = { 0 };
	char escaped[5] = "\\x";

	text_add(text, "'");
	for (size_t i = 0; i < size; i++) {
		plain[0] = (char)byte[i];
		escaped[2] = "0123456789abcdef"[byte[i] >> 4];
		escaped[3] = "0123456789abcdef"[byte[i] & 15];
		text_add(text, byte[i] >= 0x20 && byte[i] < 0x7f &&
			 byte[i] != '\'' && byte[i] != '\\' ? plain : escaped);
	}
	text_add(text, "'");
}

static inline void text_add_bytes(struct text *text, const uint8_t *bytes,
				  size_t size)
{
	char pair[3] = { 0 };

	for (size_t i = 0; i < size; i++) {
		pair[0] = "0123456789abcdef"[bytes[i] >> 4];
		pair[1] = "0123456789abcdef"[bytes[i] & 15];
		text_add(text, pair);
	}
}

#endif
