/*
 * How often was which call made, from where, with which arguments?  A table in
 * fixed room: what does not fit is counted with less detail, and says so.
 */
#ifndef SHIM_TALLY_H
#define SHIM_TALLY_H

#include <stdint.h>

#include "uapi.h"

#define TALLY_ENTRIES 32768	/* a power of two */
#define TALLY_NUMBERS 512	/* v6.18 ends at 469 */
#define TALLY_TUPLES 256	/* different arguments of one number */
#define TALLY_DROPPED 0x80U	/* in KEPT: there were too many different ones */

/* Calls of one number from one site with the same kept arguments. */
struct tally_entry {
	uint64_t count;		/* 0: the entry is free */
	uint64_t arguments[6];	/* those of KEPT, the others 0 */
	uint64_t first[6];	/* all six of the first such call */
	uint32_t site;
	uint32_t arch;		/* AUDIT_ARCH_* */
	int32_t number;
	int32_t thread;		/* that made the first such call */
	uint32_t kept;		/* bit i: argument i, or TALLY_DROPPED */
	uint32_t reserved;	/* 0 */
};

/* All zeros before the first call. */
struct tally {
	uint64_t lost;		/* calls that no entry counts */
	uint32_t used;		/* entries */
	uint16_t tuples[TALLY_NUMBERS];
	struct tally_entry entries[TALLY_ENTRIES];
};

/* Count CALL of THREAD from SITE; bit i of KEEP: its argument i matters. */
void tally_add(struct tally *tally, uint32_t site,
	       const struct uapi_seccomp_data *call, uint32_t keep,
	       int32_t thread);

#endif
