/* Arguments that whoever starts the launcher appends to those of the plan. */
#include <string.h>

#include "plan_sections.h"

_Static_assert(PLAN_ARGUMENTS * 2 - 1 == PLAN_ALL_FLAGS, "the last flag");
_Static_assert(PLAN_MAX_APPENDED >= PLAN_MAX_SIZE, "room for the plan's own");

/* Returns the bytes that COUNT strings take with their NULs, or MOST + 1 if
 * that is more than MOST. */
static size_t size_of(char *const *strings, size_t count, size_t most)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(strings[i]);

		if (length >= most - size) /* so that no sum can be too large */
			return most + 1;
		size += length + 1;
	}
	return size;
}

int plan_append(struct plan *plan, char *const *arguments, size_t count,
		char room[PLAN_MAX_APPENDED], struct plan_fault *fault)
{
	size_t left = PLAN_MAX_APPENDED - plan->argv_size;
	size_t size;
	char *next = room + plan->argv_size;

	if (count == 0)
		return 0;
	if (!(plan->flags & PLAN_ARGUMENTS))
		return found_two(fault_at(fault, "arguments", "none: what the "
					  "program gets as arguments is in the "
					  "plan, and nothing is added to it "
					  "(shim build --arguments allow)", 20),
				 count, " behind the plan's ", plan->argc, "");
	if (count > PLAN_MAX_STRINGS - plan->argc)
		return found_two(fault_at(fault, "arguments",
					  "at most 65536 together", 20),
				 count, " behind the plan's ", plan->argc, "");
	size = size_of(arguments, count, left);
	if (size > left)
		return found_two(fault_at(fault, "arguments",
					  "at most 4 MiB together", 20),
				 size, " bytes or more behind the plan's ",
				 plan->argv_size, "");
	memcpy(room, plan->argv, plan->argv_size);
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(arguments[i]) + 1;

		memcpy(next, arguments[i], length);
		next += length;
	}
	plan->argv = room;
	plan->argv_size += size;
	plan->argc += count;
	return 0;
}
