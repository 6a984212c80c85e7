/*
 * What a TPM reads and writes: numbers big-endian, TPM2B with their size before
 * them.  Neither side goes beyond its room; who does is marked for good, so that
 * a caller asks once, at the end.
 */
#ifndef SHIM_TPM2_WIRE_H
#define SHIM_TPM2_WIRE_H

#include <stddef.h>
#include <stdint.h>

struct tpm2_writer {
	uint8_t *bytes;
	size_t room;
	size_t size;
	int overflown;
};

void tpm2_put8(struct tpm2_writer *writer, uint8_t value);
void tpm2_put16(struct tpm2_writer *writer, uint16_t value);
void tpm2_put32(struct tpm2_writer *writer, uint32_t value);
void tpm2_put(struct tpm2_writer *writer, const void *bytes, size_t size);
void tpm2_put_zeros(struct tpm2_writer *writer, size_t size);

/* Write a size of WIDTH (2 or 4) bytes that is not known yet; returns where it
 * stands, for tpm2_close_size behind what it is the size of. */
size_t tpm2_open_size(struct tpm2_writer *writer, size_t width);
void tpm2_close_size(struct tpm2_writer *writer, size_t at, size_t width);

struct tpm2_reader {
	const uint8_t *at;
	size_t left;
	int broken;	/* it was asked for more than there was */
};

/* What is not there is 0 or NULL. */
uint8_t tpm2_take8(struct tpm2_reader *reader);
uint16_t tpm2_take16(struct tpm2_reader *reader);
uint32_t tpm2_take32(struct tpm2_reader *reader);
const uint8_t *tpm2_take(struct tpm2_reader *reader, size_t size);
/* The contents of a TPM2B. */
const uint8_t *tpm2_take_sized(struct tpm2_reader *reader, size_t *size);
/* A reader of the next SIZE bytes, behind which READER goes on. */
struct tpm2_reader tpm2_take_part(struct tpm2_reader *reader, size_t size);
/* Returns 1 if everything was there and nothing is left. */
int tpm2_is_read(const struct tpm2_reader *reader);

#endif
