/* A hash table with open addressing that never grows. */
#include "tally.h"

#include <string.h>

#define MOST_USED (TALLY_ENTRIES / 8 * 7)
/* Arguments are kept in half of the room, so that there is always an entry for
 * a number and its site. */
#define MOST_WITH_ARGUMENTS (TALLY_ENTRIES / 2)

/* Fibonacci hashing: the golden ratio's fraction in 64 bits. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static uint64_t hash_of(const struct tally_entry *key)
{
	uint64_t hash = mix(key->site, (uint64_t)key->arch << 32 |
				       (uint32_t)key->number);

	hash = mix(hash, key->kept);
	for (int i = 0; i < 6; i++)
		hash = mix(hash, key->arguments[i]);
	return hash;
}

static int is_same(const struct tally_entry *entry,
		   const struct tally_entry *key)
{
	return entry->site == key->site && entry->arch == key->arch &&
	       entry->number == key->number && entry->kept == key->kept &&
	       memcmp(entry->arguments, key->arguments,
		      sizeof(key->arguments)) == 0;
}

/* Returns the entry of KEY, or the free one where it belongs: there is one. */
static struct tally_entry *find(struct tally *tally,
				const struct tally_entry *key)
{
	uint64_t at = hash_of(key);
	struct tally_entry *entry;

	do
		entry = &tally->entries[at++ % TALLY_ENTRIES];
	while (entry->count != 0 && !is_same(entry, key));
	return entry;
}

static void take(struct tally *tally, struct tally_entry *entry,
		 const struct tally_entry *key,
		 const struct uapi_seccomp_data *call)
{
	*entry = *key;
	memcpy(entry->first, call->args, sizeof(entry->first));
	entry->count = 1;
	tally->used++;
}

void tally_add(struct tally *tally, uint32_t site,
	       const struct uapi_seccomp_data *call, uint32_t keep,
	       int32_t thread)
{
	struct tally_entry key = {
		.site = site, .arch = call->arch, .number = call->nr,
		.thread = thread, .kept = keep,
	};
	struct tally_entry *entry;

	for (int i = 0; i < 6; i++)
		if (keep >> i & 1)
			key.arguments[i] = call->args[i];
	entry = find(tally, &key);
	if (entry->count == 0 && keep != 0) {
		uint16_t *tuples = &tally->tuples[call->nr % TALLY_NUMBERS];

		if (*tuples < TALLY_TUPLES &&
		    tally->used < MOST_WITH_ARGUMENTS) {
			(*tuples)++;
		} else {
			memset(key.arguments, 0, sizeof(key.arguments));
			key.kept = TALLY_DROPPED;
			entry = find(tally, &key);
		}
	}
	if (entry->count != 0)
		entry->count++;
	else if (tally->used < MOST_USED)
		take(tally, entry, &key, call);
	else
		tally->lost++;
}
