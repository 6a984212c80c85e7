/*
 * A guest under sanitizers, with a host that knows the relying party's key and
 * writes what the input says: frames of any type and size, or a good challenge
 * and a release that is good but for what the input changes, signed before or
 * after the change.  A guest that takes anything but the secret that was sealed
 * for it aborts the program.  As fuzz.c, it reads one input, or makes its own for
 * some seconds.
 */
#define _DEFAULT_SOURCE /* sockets, in a C11 build */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "fuzz_input.h"
#include "guest.h"
#include "load.h"

#define MAX_SIZE 65536U
#define SECRET "sixteen bytes..."
#define SECRET_SIZE 16U
#define RELEASE_SIZE (FRAME_MIN_RELEASE + SECRET_SIZE)

enum way {
	RAW,		/* the input is all that the host says */
	FRAMES,		/* as frames */
	ANSWER,		/* the same behind a good challenge */
	CHANGE,		/* a good release, then changed */
	SIGN_CHANGED,	/* changed, then signed */
	WAYS,
};

struct host {
	const uint8_t *bytes;
	size_t size;
	int fd;
	int changed;	/* the release is not what the relying party made */
	int opened;	/* how many credentials the guest was made to open */
};

static const uint8_t credential[] = { 0, 1, 'i', 0, 1, 's' };
static const uint8_t proof_key[RELEASE_PROOF_KEY_SIZE] = "of a credential";

static struct guest guest;
static uint8_t room[FRAME_MAX_RELEASE];
static uint8_t signing_key[crypto_sign_ed25519_SECRETKEYBYTES];
static uint8_t relying_party[FRAME_KEY_SIZE];
static uint8_t evidence_digest[FRAME_DIGEST_SIZE];	/* of what the guest sends */

static uint8_t take(struct host *host)
{
	if (host->size == 0)
		return 0;
	host->size--;
	return *host->bytes++;
}

/* What does not fit was not said: the guest will not have read that far. */
static void say(const struct host *host, const uint8_t *bytes, size_t size)
{
	if (send(host->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		shutdown(host->fd, SHUT_WR);
}

/* Frames whose header is as it should be for one in four. */
static void say_frames(struct host *host)
{
	uint8_t header[FRAME_HEADER_SIZE];

	while (host->size != 0) {
		uint8_t how = take(host);
		struct frame frame = { how & 7, 0 };
		size_t rest;

		frame.size = (uint32_t)take(host) << (how >> 6) * 4;
		frame.size += how & 8 ? take(host) : 0;
		if (frame.type == 0)
			frame.type = FRAME_CREDENTIAL;
		if (how & 16)
			frame.size = how & 8 ? FRAME_NONCE_SIZE : 112;
		frame_write_header(header, &frame);
		if (how & 32)
			header[take(host) % sizeof(header)] ^= take(host);
		say(host, header, sizeof(header));
		rest = frame.size < host->size ? frame.size : host->size;
		say(host, host->bytes, rest);
		host->bytes += rest;
		host->size -= rest;
	}
}

static void say_challenge(const struct host *host)
{
	static const uint8_t nonce[FRAME_NONCE_SIZE] = "a nonce";
	uint8_t header[FRAME_HEADER_SIZE];
	struct frame frame = { FRAME_CHALLENGE, sizeof(nonce) };

	frame_write_header(header, &frame);
	say(host, header, sizeof(header));
	say(host, nonce, sizeof(nonce));
}

static void change(struct host *host, uint8_t *bytes, size_t size)
{
	for (uint8_t count = take(host) % 4; count != 0; count--) {
		size_t at = take(host) % size;

		bytes[at] ^= take(host);
	}
}

/* As attestation/channel/release.py makes one, for the evidence "evidence". */
static void seal_release(uint8_t body[RELEASE_SIZE],
			 struct release_terms *terms)
{
	static const uint8_t ephemeral[FRAME_KEY_SIZE] = "ephemeral";
	static const uint8_t sizes[12] = { [3] = 8 };
	uint8_t product[FRAME_KEY_SIZE];
	uint8_t info[RELEASE_INFO_SIZE];
	crypto_hash_sha256_state hash;
	struct hpke hpke;

	crypto_hash_sha256_init(&hash);
	crypto_hash_sha256_update(&hash, terms->public_key, FRAME_KEY_SIZE);
	crypto_hash_sha256_update(&hash, guest.settings.plan_digest,
				  FRAME_DIGEST_SIZE);
	crypto_hash_sha256_update(&hash, sizes, sizeof(sizes));
	crypto_hash_sha256_update(&hash, (const uint8_t *)"evidence", 8);
	crypto_hash_sha256_final(&hash, terms->evidence);
	memcpy(evidence_digest, terms->evidence, sizeof(evidence_digest));
	crypto_scalarmult_curve25519_base(body, ephemeral);
	fuzz_require(crypto_scalarmult_curve25519(product, ephemeral,
						  terms->public_key) == 0);
	hpke_shared_secret(product, product, body, terms->public_key);
	release_info(info, terms);
	hpke_schedule(&hpke, product, info, sizeof(info));
	fuzz_require(sealing_seal(&hpke.sealing, NULL, 0,
				  (const uint8_t *)SECRET, SECRET_SIZE,
				  body + FRAME_RELEASE_HEAD) == 0);
}

static void sign_release(uint8_t body[RELEASE_SIZE],
			 const struct release_terms *terms)
{
	uint8_t digest[FRAME_DIGEST_SIZE];

	release_digest(digest, terms, body, body + FRAME_RELEASE_HEAD,
		       RELEASE_SIZE - FRAME_RELEASE_HEAD);
	crypto_sign_ed25519_detached(body + FRAME_KEY_SIZE, NULL, digest,
				     sizeof(digest), signing_key);
}

static void say_release(struct host *host, enum way way)
{
	struct release_terms terms = guest.terms;
	struct frame frame = { FRAME_RELEASE, RELEASE_SIZE };
	uint8_t message[FRAME_HEADER_SIZE + RELEASE_SIZE];
	uint8_t good[sizeof(message)];
	uint8_t *body = message + FRAME_HEADER_SIZE;

	frame_write_header(message, &frame);
	seal_release(body, &terms);
	sign_release(body, &terms);
	memcpy(good, message, sizeof(good));
	if (way == SIGN_CHANGED) {
		/* The signature is none of what is signed. */
		change(host, body, FRAME_KEY_SIZE);
		change(host, body + FRAME_RELEASE_HEAD,
		       RELEASE_SIZE - FRAME_RELEASE_HEAD);
	}
	sign_release(body, &terms);
	if (way == CHANGE)
		change(host, message, sizeof(message));
	host->changed = memcmp(message, good, sizeof(good)) != 0;
	say(host, message, sizeof(message));
}

/* One that opens, where the input says so: then a proof of it has to come. */
static void say_credential(const struct host *host)
{
	uint8_t header[FRAME_HEADER_SIZE];
	struct frame frame = { FRAME_CREDENTIAL, sizeof(credential) };

	frame_write_header(header, &frame);
	say(host, header, sizeof(header));
	say(host, credential, sizeof(credential));
}

static int activate(void *activator, const uint8_t *bytes, size_t size,
		    uint8_t secret[RELEASE_PROOF_KEY_SIZE],
		    struct guest_fault *fault)
{
	struct host *host = activator;

	fuzz_require(size >= FRAME_MIN_CREDENTIAL &&
		     size <= FRAME_MAX_CREDENTIAL && host->opened++ == 0);
	if (size != sizeof(credential) || memcmp(bytes, credential, size) != 0)
		return guest_fault(fault, "credential", "another", "ours");
	memcpy(secret, proof_key, RELEASE_PROOF_KEY_SIZE);
	return 0;
}

/* The last that the guest has said is the proof for these TERMS. */
static void check_proof(const struct host *host,
			const struct release_terms *terms)
{
	uint8_t said[2048];
	uint8_t proof[FRAME_PROOF_SIZE];
	ssize_t size = recv(host->fd, said, sizeof(said), MSG_DONTWAIT);

	release_proof(proof, terms, proof_key);
	fuzz_require(host->opened == 1 &&
		     size > (ssize_t)sizeof(proof) + FRAME_HEADER_SIZE);
	fuzz_require(memcmp(said + size - sizeof(proof), proof,
			    sizeof(proof)) == 0);
	fuzz_require(said[(size_t)size - sizeof(proof) - FRAME_HEADER_SIZE +
			  5] == FRAME_PROOF);
}

static int contains_secret(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i + SECRET_SIZE <= size; i++)
		if (memcmp(at + i, SECRET, SECRET_SIZE) == 0)
			return 1;
	return 0;
}

static void check_failure(const struct guest_fault *fault, enum way way)
{
	static const struct release_terms nothing;
	static const struct sealing unsealed;

	fuzz_require(guest.state == GUEST_ENDED);
	fuzz_require(memcmp(&guest.terms, &nothing, sizeof(nothing)) == 0);
	fuzz_require(memcmp(&guest.records, &unsealed, sizeof(unsealed)) == 0);
	/* Unless the host has written it there itself. */
	fuzz_require(way < CHANGE || !contains_secret(room, RELEASE_SIZE));
	fuzz_require(fault->where != NULL && fault->want != NULL);
	fuzz_require(memchr(fault->found, 0, sizeof(fault->found)) != NULL);
}

/* What it says with the secret has the counted numbers, and is the last. */
static void check_records(struct guest_fault *fault, enum way way)
{
	fuzz_require(guest_output(&guest, 1, (const uint8_t *)"hi", 2,
				  fault) == 0);
	fuzz_require(guest.records.sequence == 1);
	fuzz_require(guest_exit(&guest, 0, "", fault) == 0);
	fuzz_require(guest_event(&guest, (const uint8_t *)"{}", 2, fault) != 0);
	check_failure(fault, way);
}

static int converse(struct host *host, enum way way, struct guest_fault *fault)
{
	const struct guest_evidence evidence = {
		.evidence = (const uint8_t *)"evidence", .evidence_size = 8,
		.activate = activate, .activator = host,
	};
	struct release_terms terms;
	int asks;
	uint8_t report_data[FRAME_REPORT_DATA_SIZE];
	const uint8_t *secret;
	size_t size;

	if (way == RAW)
		say(host, host->bytes, host->size);
	else if (way == FRAMES)
		say_frames(host);
	else
		say_challenge(host);
	if (way <= FRAMES)
		shutdown(host->fd, SHUT_WR);
	if (guest_ask(&guest, report_data, fault) != 0)
		return -1;
	terms = guest.terms;
	asks = way > ANSWER && take(host) % 2;
	if (asks)
		say_credential(host);
	if (way == ANSWER)
		say_frames(host);
	else if (way > ANSWER)
		say_release(host, way);
	shutdown(host->fd, SHUT_WR);
	if (guest_attest(&guest, &evidence, room, &secret, &size, fault) != 0)
		return -1;
	fuzz_require(way >= CHANGE && size == SECRET_SIZE);
	fuzz_require(memcmp(secret, SECRET, SECRET_SIZE) == 0);
	memset(room, 0, RELEASE_SIZE); /* the secret is the caller's to wipe */
	memcpy(terms.evidence, evidence_digest, sizeof(terms.evidence));
	if (asks)
		check_proof(host, &terms);
	fuzz_require(host->opened == asks);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t seed[crypto_sign_ed25519_SEEDBYTES] = "seed";
	struct guest_settings settings = { .patience = { 1, 1, 1 } };
	struct guest_fault fault;
	struct host host = { bytes, size, -1, 0, 0 };
	enum way way = (enum way)(take(&host) % WAYS);
	int ends[2];
	int error;

	if (size > MAX_SIZE)
		return 0;
	crypto_sign_ed25519_seed_keypair(relying_party, signing_key, seed);
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	host.fd = ends[0];
	settings.fd = ends[1];
	memcpy(settings.relying_party, relying_party, sizeof(relying_party));
	memset(room, 0, RELEASE_SIZE);
	fuzz_require(guest_begin(&guest, &settings, &fault) == 0);
	error = converse(&host, way, &fault);
	fuzz_require(way < CHANGE || host.changed == (error != 0));
	if (error == 0)
		check_records(&fault, way);
	else
		check_failure(&fault, way);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static int generate(long seconds)
{
	return fuzz_generate(seconds, 200, fuzz_any_byte);
}

#ifndef SHIM_LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "--generate", generate, MAX_SIZE, 1);
}
#endif
