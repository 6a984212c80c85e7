/*
 * What the test programs under sanitizers share: the same inputs every time,
 * and a main() that reads one input or makes its own for some seconds.
 */
#ifndef SHIM_FUZZ_INPUT_H
#define SHIM_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* abort() unless HOLDS. */
void fuzz_require(int holds);

uint32_t fuzz_random(void);

/* Any byte, for every INPUT: a NEXT of fuzz_generate. */
uint8_t fuzz_any_byte(unsigned long input);

/* Code for SECONDS: most inputs shorter than USUAL bytes, one in 64 longer than
 * a run, each byte from NEXT, which is told the number of the input. */
int fuzz_generate(long seconds, uint32_t usual,
		  uint8_t (*next)(unsigned long input));

/* Run as the words say: OPTION and seconds for OWN, nothing for one input of at
 * most SIZE bytes on standard input, tried OFFSET bytes behind an aligned
 * address.  Returns what to exit with. */
int fuzz_main(int argc, char **argv, const char *option, int (*own)(long),
	      size_t size, size_t offset);

#endif
