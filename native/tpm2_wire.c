/* A TPM's numbers and sized buffers, with an end on both sides. */
#include "tpm2_wire.h"

#include <string.h>

#include "load.h"

static uint8_t *grow(struct tpm2_writer *writer, size_t size)
{
	uint8_t *at = writer->bytes + writer->size;

	if (writer->overflown || size > writer->room - writer->size) {
		writer->overflown = 1;
		return NULL;
	}
	writer->size += size;
	return at;
}

void tpm2_put8(struct tpm2_writer *writer, uint8_t value)
{
	tpm2_put(writer, &value, sizeof(value));
}

void tpm2_put16(struct tpm2_writer *writer, uint16_t value)
{
	uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	tpm2_put(writer, bytes, sizeof(bytes));
}

void tpm2_put32(struct tpm2_writer *writer, uint32_t value)
{
	uint8_t bytes[4];

	store32_be(bytes, value);
	tpm2_put(writer, bytes, sizeof(bytes));
}

void tpm2_put(struct tpm2_writer *writer, const void *bytes, size_t size)
{
	uint8_t *at = grow(writer, size);

	if (at != NULL && size != 0)
		memcpy(at, bytes, size);
}

void tpm2_put_zeros(struct tpm2_writer *writer, size_t size)
{
	uint8_t *at = grow(writer, size);

	if (at != NULL && size != 0)
		memset(at, 0, size);
}

size_t tpm2_open_size(struct tpm2_writer *writer, size_t width)
{
	size_t at = writer->size;

	tpm2_put_zeros(writer, width);
	return at;
}

void tpm2_close_size(struct tpm2_writer *writer, size_t at, size_t width)
{
	size_t size;

	if (writer->overflown)
		return;
	size = writer->size - at - width;
	if (width == 2 && size > UINT16_MAX) {
		writer->overflown = 1;
		return;
	}
	for (size_t i = 0; i < width; i++)
		writer->bytes[at + i] = (uint8_t)(size >> 8 * (width - 1 - i));
}

const uint8_t *tpm2_take(struct tpm2_reader *reader, size_t size)
{
	const uint8_t *at = reader->at;

	if (reader->broken || size > reader->left) {
		reader->broken = 1;
		return NULL;
	}
	reader->at += size;
	reader->left -= size;
	return at;
}

uint8_t tpm2_take8(struct tpm2_reader *reader)
{
	const uint8_t *at = tpm2_take(reader, 1);

	return at == NULL ? 0 : at[0];
}

uint16_t tpm2_take16(struct tpm2_reader *reader)
{
	const uint8_t *at = tpm2_take(reader, 2);

	if (at == NULL)
		return 0;
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t tpm2_take32(struct tpm2_reader *reader)
{
	const uint8_t *at = tpm2_take(reader, 4);

	return at == NULL ? 0 : load32_be(at);
}

const uint8_t *tpm2_take_sized(struct tpm2_reader *reader, size_t *size)
{
	const uint8_t *at;

	*size = tpm2_take16(reader);
	at = tpm2_take(reader, *size);
	if (at == NULL)
		*size = 0;
	return at;
}

struct tpm2_reader tpm2_take_part(struct tpm2_reader *reader, size_t size)
{
	struct tpm2_reader part = { tpm2_take(reader, size), size, 0 };

	if (part.at == NULL)
		part = (struct tpm2_reader){ NULL, 0, 1 };
	return part;
}

int tpm2_is_read(const struct tpm2_reader *reader)
{
	return !reader->broken && reader->left == 0;
}
