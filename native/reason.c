/* Why was a launch refused, where errno cannot say it? */
#include "load.h"
#include "steps.h"
#include "text.h"

#define QUOTED_PATH 40	/* bytes, each of which may take four */

static struct text reason_of(struct launch_state *launch)
{
	return (struct text){ launch->result->reason, LAUNCH_REASON_SIZE, 0 };
}

int refuse(struct launch_state *launch, const char *reason)
{
	struct text text = reason_of(launch);

	text_add(&text, reason);
	return REFUSED;
}

int refuse_digest(struct launch_state *launch, const uint8_t found[32])
{
	struct text text = reason_of(launch);

	text_add(&text, "sha256 found ");
	text_add_bytes(&text, found, PLAN_DIGEST_SIZE);
	text_add(&text, ", want ");
	text_add_bytes(&text, launch->plan->digest, PLAN_DIGEST_SIZE);
	return REFUSED;
}

int refuse_object(struct launch_state *launch, const char *words,
		  const char *path)
{
	struct text text = reason_of(launch);
	size_t size = 0;

	while (size < QUOTED_PATH && path[size] != 0)
		size++;
	text_add_quoted(&text, path, size);
	text_add(&text, ": ");
	text_add(&text, words);
	return REFUSED;
}

int refuse_instruction(struct launch_state *launch, size_t at, const char *want)
{
	const uint8_t *bytes = launch->filter + at * PLAN_INSTRUCTION_SIZE;
	struct text text = reason_of(launch);

	text_add(&text, "filter[");
	text_add_decimal(&text, at);
	text_add(&text, "]: found code ");
	text_add_hex(&text, load16_le(bytes));
	text_add(&text, " jt ");
	text_add_decimal(&text, bytes[2]);
	text_add(&text, " jf ");
	text_add_decimal(&text, bytes[3]);
	text_add(&text, " k ");
	text_add_hex(&text, load32_le(bytes + 4));
	text_add(&text, ", want ");
	text_add(&text, want);
	return REFUSED;
}
