/*
 * The channel between guests and a relying party, docs/protocol.md, with a host
 * that relays, keeps, changes and makes up whatever it can.
 *
 * Cryptography is perfect: the host signs with no key but its own, opens what is
 * sealed to its own key only, and evidence is genuine only if a TEE made it.
 * It has a genuine TEE too, in which other software runs.  Nonces cannot be
 * guessed, so it has those that were handed out, and one of its own.
 *
 * A policy takes evidence of a TEE, or with EVIDENCE=tpm in the environment that of
 * a TPM, which the host has a genuine one of too.  Of such evidence anybody can
 * make the signature, by a key of his own, so the relying party asks for a proof.
 *
 * REMOVED in the environment is the number of a check that is left out; 0 is the
 * protocol as it is.
 */
c_code { \#include <stdlib.h> }

#define AUTHENTICATE	1	/* did the hardware say it? */
#define APPRAISE	2	/* is it the software that is expected? */
#define NONCE		3	/* is it an answer to this challenge? */
#define BINDING		4	/* is the key the one that evidence names? */
#define SPENT		5	/* was this nonce answered before? */
#define SIGNATURE	6	/* did the relying party make this release? */
#define CIPHERTEXT	7	/* does its signature cover the secret? */
#define SEALING		8	/* did the guest seal this record? */
#define COUNTER		9	/* as the next one? */
#define MAKER		10	/* does somebody vouch for the endorsement key? */
#define KEY_NAMED	11	/* does a credential open only with its key beside it? */
#define PROOF		12	/* was the credential opened? */
#define FRESH		13	/* the one of this session? */
#define GOOD_RUN	14	/* no check: claims that no guest ever gets anywhere */

#define CHECKED(check, condition) (removed == check || (condition))

#define GUESTS	2	/* two boots of the right image: keys 1 and 2 */
#define HOST	3	/* the host's own key, and its genuine TPM */
#define FORGED	4	/* an attestation key in no TPM, an imitated TPM */
#define NONCES	2	/* of the relying party's; 3 is the host's */
#define RELEASES 3
#define RECORDS	(tpm -> 1 : 3)	/* of each guest; the last one is its exit */

byte removed;
bool tpm;		/* what the policy takes evidence of */

/* The relying party. */
bool issued[4];
bool spent[4];
byte answers[4];	/* releases for each nonce */
byte released;		/* how many */
byte for_nonce[RELEASES];
byte for_key[RELEASES];
byte delivered[4];	/* records taken, from whom a release went to */
bool released_to[4];

/* Evidence of a TPM that waits for a proof, by session: who is to get a release,
 * whether some TPM opens its credential, and whether the attestation key is that
 * one's TPM's.  If no TPM opens it, whose key it is makes no difference. */
byte waiting[3];	/* 0: none waits */
bool opens[3];
bool honest[3];

/* The guests. */
byte challenge[4];	/* what each took for a challenge; 0: none yet */
byte known[4];		/* nonces that were handed out by then, one bit each */
bool accepted[4];
bool failed[4];
byte sealed[4];		/* records sent */

/* Of no meaning between two steps, and so no part of a state. */
hidden byte session, nonce, key, to, guest, i, other;

inline any(value, most) {
	value = 1;
	do
	:: value < most -> value++
	:: break
	od
}

/* The relying party gets evidence, from whoever collected it. */
inline appraise(genuine, good, answered, named) {
	if
	:: !tpm && issued[session] && released < RELEASES &&
	   CHECKED(AUTHENTICATE, genuine) && CHECKED(APPRAISE, good) &&
	   CHECKED(NONCE, answered == session) &&
	   CHECKED(BINDING, named == to) &&
	   CHECKED(SPENT, !spent[session]) ->
		spent[session] = true;
		answers[session]++;
		for_nonce[released] = session;
		for_key[released] = to;
		released++;
		released_to[to] = true;
		/* 1. Who can open it is a guest whose evidence was affirmed. */
		assert(to != HOST);
		assert(genuine && good && named == to);
		/* 2. Once for a nonce. */
		assert(answers[session] == 1);
		/* 3. The evidence is younger than the challenge. */
		assert(known[named] & (1 << session))
	:: else
	fi
}

/* The relying party gets evidence of a TPM, by the attestation key of one and
 * with the endorsement key of another, or the same. */
inline ask(ek, ak, good, answered, named) {
	if
	:: tpm && issued[session] && waiting[session] == 0 &&
	   CHECKED(MAKER, ek != FORGED) && CHECKED(APPRAISE, good) &&
	   CHECKED(NONCE, answered == session) &&
	   CHECKED(BINDING, named == to) &&
	   CHECKED(SPENT, !spent[session]) ->
		waiting[session] = to;
		/* What a TPM does, and whoever imitates one. */
		opens[session] = ek == FORGED || CHECKED(KEY_NAMED, ek == ak);
		honest[session] = opens[session] && ak == to
	:: else
	fi
}

/* The relying party gets a proof that follows from OTHER's credential. */
inline prove() {
	if
	:: waiting[session] != 0 && released < RELEASES &&
	   CHECKED(PROOF, opens[other]) && CHECKED(FRESH, other == session) &&
	   CHECKED(SPENT, !spent[session]) ->
		to = waiting[session];
		spent[session] = true;
		answers[session]++;
		for_nonce[released] = session;
		for_key[released] = to;
		released++;
		released_to[to] = true;
		/* 1 to 3, as above. */
		assert(to != HOST && honest[session]);
		assert(answers[session] == 1);
		assert(known[to] & (1 << session));
		waiting[session] = 0;
		opens[session] = false;
		honest[session] = false
	:: else
	fi
}

/* A guest gets a release: whether the relying party signed it, for which nonce,
 * sealed to whom, and whether the secret in it is the host's. */
inline accept(signed, bound, sealed_to, forged) {
	if
	:: challenge[guest] != 0 && !accepted[guest] && !failed[guest] ->
		if
		:: CHECKED(SIGNATURE, signed) && bound == challenge[guest] &&
		   sealed_to == guest ->
			accepted[guest] = true;
			/* 4. The relying party sent it, and to this guest. */
			assert(!forged && released_to[guest])
		:: else ->
			failed[guest] = true	/* for good: it powers off */
		fi
	:: else
	fi
}

/* The relying party gets a record: a guest's with this number, or the host's. */
inline record(number, forged) {
	if
	:: released_to[guest] && delivered[guest] < RECORDS &&
	   CHECKED(SEALING, !forged) &&
	   CHECKED(COUNTER, number == delivered[guest]) ->
		/* 5. What the guest sent, all of it, in its order. */
		assert(!forged && number == delivered[guest]);
		delivered[guest]++
	:: else
	fi
}

active proctype Host() {
	c_code {
		const char *text = getenv("REMOVED");
		const char *kind = getenv("EVIDENCE");
		now.removed = text ? (unsigned char)atoi(text) : 0;
		now.tpm = kind != 0 && kind[0] == 't' && kind[1] == 'p';
	};
	do
	/* Asks for a challenge. */
	:: !issued[1] -> issued[1] = true
	:: issued[1] && !issued[2] -> issued[2] = true
	/* Boots a guest, and tells it whatever it likes for a challenge. */
	:: atomic {
		any(guest, GUESTS); any(nonce, 3);
		if
		:: challenge[guest] == 0 && (nonce == 3 || issued[nonce]) ->
			challenge[guest] = nonce;
			known[guest] = (issued[1] << 1) | (issued[2] << 2)
		:: else
		fi
	   }
	/* Sends evidence of one of them, perhaps with another key beside it. */
	:: atomic {
		any(guest, GUESTS); any(session, NONCES); any(to, 3);
		if
		:: challenge[guest] != 0 ->
			appraise(true, true, challenge[guest], guest)
		:: else
		fi
	   }
	/* Of its own TEE, with other software in it, about any nonce and key. */
	:: atomic {
		any(session, NONCES); any(nonce, 3); any(key, 3); any(to, 3);
		if
		:: nonce == 3 || issued[nonce] ->
			appraise(true, false, nonce, key)
		:: else
		fi
	   }
	/* Of no TEE at all. */
	:: atomic {
		any(session, NONCES); any(nonce, 3); any(key, 3); any(to, 3);
		if
		:: nonce == 3 || issued[nonce] ->
			appraise(false, true, nonce, key)
		:: else
		fi
	   }
	/* Sends evidence of a guest's TPM, perhaps with another TPM's name on it. */
	:: atomic {
		any(guest, GUESTS); any(session, NONCES); any(to, 3); any(other, 4);
		if
		:: challenge[guest] != 0 ->
			ask(other, guest, true, challenge[guest], guest)
		:: else
		fi
	   }
	/* Of its own TPM, with other software before it. */
	:: atomic {
		any(session, NONCES); any(nonce, 3); any(key, 3); any(to, 3);
		any(other, 4);
		if
		:: nonce == 3 || issued[nonce] ->
			ask(other, HOST, false, nonce, key)
		:: else
		fi
	   }
	/* By a key of its own that is in no TPM, with any TPM's name on it. */
	:: atomic {
		any(session, NONCES); any(nonce, 3); any(key, 3); any(to, 3);
		any(other, 4);
		if
		:: nonce == 3 || issued[nonce] ->
			ask(other, FORGED, true, nonce, key)
		:: else
		fi
	   }
	/* Has a credential opened, by whichever TPM does, and passes the proof on. */
	:: atomic { any(session, NONCES); any(other, NONCES); prove() }
	/* Passes a release on as it was made, to whichever guest. */
	:: released > 0 -> atomic {
		any(guest, GUESTS); any(i, released); i--;
		accept(true, for_nonce[i], for_key[i], false)
	   }
	/* Puts a secret of its own behind a signature that it has seen. */
	:: released > 0 && removed == CIPHERTEXT -> atomic {
		any(guest, GUESTS); any(i, released); i--;
		accept(true, for_nonce[i], guest, true)
	   }
	/* Makes one of its own, sealed to the right key. */
	:: atomic {
		any(guest, GUESTS);
		accept(false, challenge[guest], guest, true)
	   }
	/* Lets a guest that has its secret say something. */
	:: atomic {
		any(guest, GUESTS);
		if
		:: accepted[guest] && sealed[guest] < RECORDS -> sealed[guest]++
		:: else
		fi
	   }
	/* Passes on what was said, at any time and as often as it likes. */
	:: atomic {
		any(guest, GUESTS);
		if
		:: sealed[guest] > 0 ->
			any(i, sealed[guest]); i--;
			record(i, false)
		:: else
		fi
	   }
	/* Says something in a guest's name. */
	:: atomic { any(guest, GUESTS); record(delivered[guest], true) }
	:: break
	od;
	/* A protocol in which nothing happens would keep every claim above. */
	assert(!(removed == GOOD_RUN &&
		 delivered[1] == RECORDS && delivered[2] == RECORDS))
}
