/* Why was a launch refused, where errno cannot say it? */
#include "steps.h"
#include "text.h"

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

int refuse_at(struct launch_state *launch, const char *reason, size_t at)
{
	struct text text = reason_of(launch);

	text_add(&text, reason);
	text_add(&text, " (instruction ");
	text_add_decimal(&text, at);
	text_add(&text, ")");
	return REFUSED;
}
