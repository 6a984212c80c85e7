/*
 * What asks a TPM, under sanitizers, with a TPM that answers what the input says:
 * any bytes, or good responses with some bytes changed, added or left out.  Then
 * nothing is read or written beyond its room, and good responses lead to the
 * secret that was in them.  As fuzz.c, it reads one input, or makes its own for
 * some seconds.
 */
#define _DEFAULT_SOURCE /* sockets, in a C11 build */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "fuzz_input.h"
#include "load.h"
#include "tpm2.h"
#include "tpm2_command.h"
#include "tpm2_quote.h"

#define MAX_SIZE 65536U
#define SCRIPT_SIZE 131072U
#define ROOM 16384U
#define CERTIFICATE_SIZE 600U
#define SECRET "thirty-two bytes of a credential"

enum way { RAW, CHANGE, GOOD, WAYS };

struct machine {
	const uint8_t *bytes;
	size_t size;
	uint8_t script[SCRIPT_SIZE];
	size_t script_size;
	int varies;	/* sizes too, and yet consistently */
};

static struct machine machine;
static struct tpm2 tpm;
static uint8_t evidence[TPM2_EVIDENCE_ROOM];

static uint8_t take(void)
{
	if (machine.size == 0)
		return 0;
	machine.size--;
	return *machine.bytes++;
}

static size_t vary(size_t usual)
{
	if (!machine.varies || machine.size == 0 || take() % 4 != 0)
		return usual;
	return (size_t)take() * 16;
}

/* Append a response of SESSIONS with PARAMETERS, and a handle if it is not 0. */
static void answer(unsigned sessions, uint32_t handle,
		   const struct tpm2_writer *parameters)
{
	struct tpm2_writer out = {
		machine.script + machine.script_size,
		SCRIPT_SIZE - machine.script_size, 0, 0,
	};

	tpm2_put16(&out, sessions == 0 ? 0x8001 : 0x8002);
	tpm2_put32(&out, 0);
	tpm2_put32(&out, 0);
	if (handle != 0)
		tpm2_put32(&out, handle);
	if (sessions != 0)
		tpm2_put32(&out, (uint32_t)parameters->size);
	tpm2_put(&out, parameters->bytes, parameters->size);
	tpm2_put_zeros(&out, vary(0));
	for (unsigned i = 0; i < sessions; i++) {
		tpm2_put16(&out, 0);
		tpm2_put8(&out, 1);
		tpm2_put16(&out, 0);
	}
	fuzz_require(!out.overflown && !parameters->overflown);
	store32_be(out.bytes + 2, (uint32_t)out.size);
	machine.script_size += out.size;
}

static void put_filled(struct tpm2_writer *out, size_t size)
{
	tpm2_put16(out, (uint16_t)size);
	for (size_t i = 0; i < size; i++)
		tpm2_put8(out, (uint8_t)i);
}

static void answer_nothing(unsigned sessions)
{
	struct tpm2_writer none = { machine.script, 0, 0, 0 };

	answer(sessions, 0, &none);
}

static void answer_refusal(uint32_t code)
{
	answer_nothing(0);
	store32_be(machine.script + machine.script_size - 4, code);
}

static void answer_certificate(void)
{
	uint8_t bytes[ROOM];
	struct tpm2_writer out = { bytes, sizeof(bytes), 0, 0 };
	size_t size = vary(CERTIFICATE_SIZE);
	size_t public;

	answer_refusal(0x18b);	/* no certificate of an ECC key */
	public = tpm2_open_size(&out, 2);
	tpm2_put32(&out, 0x01c00002);
	tpm2_put16(&out, TPM2_ALG_SHA256);
	tpm2_put32(&out, 0x62072001);
	tpm2_put16(&out, 0);
	tpm2_put16(&out, (uint16_t)size);
	tpm2_close_size(&out, public, 2);
	put_filled(&out, 34);
	answer(0, 0, &out);
	for (size_t left = size; left != 0;) {
		size_t part = left < 512 ? left : 512;

		out.size = 0;
		put_filled(&out, vary(part));
		answer(1, 0, &out);
		left -= part;
	}
}

static void answer_key(uint32_t handle, size_t size)
{
	uint8_t bytes[ROOM];
	struct tpm2_writer out = { bytes, sizeof(bytes), 0, 0 };

	put_filled(&out, vary(size));
	put_filled(&out, 40);	/* creationData */
	put_filled(&out, 32);	/* creationHash */
	tpm2_put16(&out, 0x8021);
	tpm2_put32(&out, TPM2_RH_ENDORSEMENT);
	put_filled(&out, 32);
	put_filled(&out, 34);	/* name */
	answer(1, handle, &out);
}

static void answer_quote(void)
{
	uint8_t bytes[ROOM];
	uint8_t digest[TPM2_DIGEST_SIZE];
	struct tpm2_writer out = { bytes, sizeof(bytes), 0, 0 };
	crypto_hash_sha256_state hash;
	size_t message;

	crypto_hash_sha256_init(&hash);
	for (unsigned eight = 0; eight < 3; eight++) {
		out.size = 0;
		tpm2_put32(&out, 7);	/* pcrUpdateCounter */
		tpm2_put32(&out, 1);
		tpm2_put16(&out, TPM2_ALG_SHA256);
		tpm2_put8(&out, 3);
		for (unsigned i = 0; i < 3; i++)
			tpm2_put8(&out, i == eight ? 0xff : 0);
		tpm2_put32(&out, 8);
		for (unsigned i = 0; i < 8; i++) {
			put_filled(&out, TPM2_DIGEST_SIZE);
			crypto_hash_sha256_update(&hash, out.bytes + out.size -
						  TPM2_DIGEST_SIZE,
						  TPM2_DIGEST_SIZE);
		}
		answer(0, 0, &out);
	}
	crypto_hash_sha256_final(&hash, digest);
	out.size = 0;
	message = tpm2_open_size(&out, 2);
	put_filled(&out, vary(100));
	tpm2_put(&out, digest, sizeof(digest));
	tpm2_close_size(&out, message, 2);
	put_filled(&out, vary(70));	/* signature */
	answer(1, 0, &out);
}

static void answer_credential(void)
{
	uint8_t bytes[ROOM];
	struct tpm2_writer out = { bytes, sizeof(bytes), 0, 0 };

	put_filled(&out, 16);
	answer(0, 0x03000000, &out);
	out.size = 0;
	tpm2_put16(&out, 0);
	tpm2_put16(&out, 0x8023);
	tpm2_put32(&out, TPM2_RH_NULL);
	tpm2_put16(&out, 0);
	answer(1, 0, &out);
	out.size = 0;
	if (vary(0) != 0) {
		put_filled(&out, vary(64));
	} else {
		tpm2_put16(&out, TPM2_SECRET_SIZE);
		tpm2_put(&out, SECRET, TPM2_SECRET_SIZE);
	}
	answer(2, 0, &out);
}

/* Change, insert or leave out a byte, up to four times. */
static void change(void)
{
	for (uint8_t count = 1 + take() % 4; count != 0; count--) {
		size_t at = ((size_t)take() << 8 | take()) %
			    machine.script_size;
		uint8_t *here = machine.script + at;
		uint8_t how = take() % 4;

		if (how == 0 && machine.script_size < SCRIPT_SIZE) {
			memmove(here + 1, here, machine.script_size++ - at);
		} else if (how == 1 && machine.script_size > 1) {
			memmove(here, here + 1, --machine.script_size - at);
		} else {
			*here ^= take();
		}
	}
}

static void write_script(enum way way)
{
	machine.script_size = 0;
	machine.varies = way == CHANGE;
	if (way == RAW) {
		machine.script_size = machine.size < SCRIPT_SIZE ?
				      machine.size : SCRIPT_SIZE;
		memcpy(machine.script, machine.bytes, machine.script_size);
		return;
	}
	answer_certificate();
	answer_key(0x80000000, 314);
	answer_key(0x80000001, 90);
	answer_quote();
	answer_credential();
	answer_nothing(0);
	answer_nothing(0);
	if (way == CHANGE && take() % 2 == 0)
		change();
}

static int ask(int fd, struct guest_fault *fault)
{
	static const uint8_t credential[] = { 0, 1, 'i', 0, 1, 's' };
	static const uint8_t report_data[FRAME_REPORT_DATA_SIZE];
	uint8_t secret[TPM2_SECRET_SIZE];
	size_t size;
	int failed = 1;

	if (tpm2_begin(&tpm, fd, fault) != 0)
		return -1;
	fuzz_require(tpm.certificate_size <= TPM2_MAX_CERTIFICATE);
	fuzz_require(tpm.endorsement.size <= TPM2_MAX_PUBLIC);
	if (tpm2_collect(&tpm, report_data, evidence, &size, fault) == 0) {
		fuzz_require(size < sizeof(evidence) && evidence[0] == '{' &&
			     evidence[size - 1] == '}');
		failed = tpm2_activate(&tpm, credential, sizeof(credential),
				       secret, fault) != 0;
	}
	tpm2_end(&tpm);
	fuzz_require(tpm.endorsement.handle == 0);
	return failed ? -1 : memcmp(secret, SECRET, sizeof(secret));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct guest_fault fault = { 0 };
	enum way way;
	int ends[2];
	int error;

	if (size > MAX_SIZE)
		return 0;
	machine.bytes = bytes;
	machine.size = size;
	way = (enum way)(take() % WAYS);
	write_script(way);
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	fuzz_require(send(ends[0], machine.script, machine.script_size, 0) ==
		     (ssize_t)machine.script_size);
	shutdown(ends[0], SHUT_WR);
	error = ask(ends[1], &fault);
	fuzz_require(way != GOOD || error == 0);
	if (error < 0 && fault.where != NULL)
		fuzz_require(fault.want != NULL &&
			     memchr(fault.found, 0,
				    sizeof(fault.found)) != NULL);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static int generate(long seconds)
{
	return fuzz_generate(seconds, 40, fuzz_any_byte);
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--generate", generate, MAX_SIZE, 1);
}
#endif
