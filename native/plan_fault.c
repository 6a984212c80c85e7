/* What is wrong with a plan, in words. */
#include "plan_sections.h"

#define QUOTED 48	/* bytes of a foreign string that a message shows */

/* The caller then says in words what it found. */
struct text fault_at(struct plan_fault *fault, const char *where,
			    const char *want, size_t offset)
{
	fault->where = where;
	fault->want = want;
	fault->offset = (uint32_t)offset;
	return (struct text){ fault->found, sizeof(fault->found), 0 };
}

int found_text(struct text text, const char *found)
{
	text_add(&text, found);
	return -1;
}

int found_number(struct text text, uint64_t found)
{
	text_add_decimal(&text, found);
	return -1;
}

/* Two numbers and what is between them: `5 after 7`. */
int found_two(struct text text, uint64_t first, const char *relation,
		     uint64_t second, const char *unit)
{
	text_add_decimal(&text, first);
	text_add(&text, relation);
	text_add_decimal(&text, second);
	text_add(&text, unit);
	return -1;
}

int found_flags(struct text text, uint32_t flags)
{
	text_add_hex(&text, flags);
	return -1;
}

int found_size(struct text text, size_t size)
{
	text_add_decimal(&text, size);
	text_add(&text, " bytes");
	return -1;
}

int found_bytes(struct text text, const void *bytes, size_t size)
{
	text_add_quoted(&text, bytes, size < QUOTED ? size : QUOTED);
	if (size > QUOTED)
		text_add(&text, "...");
	return -1;
}
