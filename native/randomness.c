/*
 * Keys are made of the kernel's randomness.  What a host can watch (interrupts,
 * clocks, devices that are its own) is worth nothing against it: in a machine of
 * its the processor's RDRAND is all that counts.
 */
#define _GNU_SOURCE /* explicit_bzero */
#include <string.h>

#include "arch.h"
#include "load.h"
#include "machine.h"
#include "say.h"
#include "sys.h"

enum { WORDS = 4 };

/* Fill WORDS from the processor.  Returns -1 if it has none, or is stuck. */
static int processor_words(uint64_t words[WORDS])
{
	if (!arch_has_random())
		return -1;
	for (int i = 0; i < WORDS; i++)
		if (!arch_random(&words[i]) || (i > 0 && words[i] == words[0]))
			return -1;
	return 0;
}

/* Into the kernel's pool, on top of what it has: it cannot get worse by that.
 * Where the image has no /dev there is no such file. */
static void mix_in(const uint64_t words[WORDS])
{
	long fd = sys_open("/dev/urandom", 02000001 /* O_WRONLY | O_CLOEXEC */);

	if (fd < 0)
		return;
	(void)!sys_write((int)fd, words, WORDS * sizeof(words[0]));
	sys_close((int)fd);
}

int randomness_require(const struct plan *plan, struct guest_fault *fault)
{
	enum { NON_BLOCKING = 1, AGAIN = -11 };
	uint64_t words[WORDS] = { 0 };
	uint8_t byte;

	if (plan->channel == NULL)
		return 0; /* no keys are made */
	if (processor_words(words) == 0)
		mix_in(words);
	else if (load32_le(plan->channel + 4) != PLAN_SIMULATED)
		return guest_fault(fault, "randomness", "no RDRAND, or one that "
				   "repeats itself", "one: all else the host can "
				   "watch");
	else
		say("randomness", "this processor has no RDRAND: what keys are "
		    "made of the host can watch");
	explicit_bzero(words, sizeof(words));
	if (sys3(SYS_getrandom, (long)&byte, 1, NON_BLOCKING) != AGAIN)
		return 0;
	say("randomness", "not enough yet; waiting for the kernel");
	return 0; /* who takes some waits */
}
