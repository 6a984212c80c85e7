#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz_input.h"

void fuzz_require(int holds)
{
	if (!holds)
		abort();
}

uint32_t fuzz_random(void)
{
	static uint32_t state = 2463534242U; /* the same inputs every time */

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

int fuzz_generate(long seconds, uint32_t usual,
		  uint8_t (*next)(unsigned long input))
{
	time_t end = time(NULL) + seconds;
	unsigned long inputs = 0;

	for (; time(NULL) < end; inputs++) {
		size_t size = fuzz_random() % (inputs % 64 ? usual : 12288U);
		uint8_t *bytes = malloc(size + 1); /* for ASan's red zones */

		fuzz_require(bytes != NULL);
		for (size_t i = 0; i < size; i++)
			bytes[1 + i] = next(inputs);
		LLVMFuzzerTestOneInput(bytes + 1, size);
		free(bytes);
	}
	printf("%lu inputs\n", inputs);
	return 0;
}

uint8_t fuzz_any_byte(unsigned long input)
{
	(void)input;
	return (uint8_t)fuzz_random();
}

int fuzz_main(int argc, char **argv, const char *option, int (*own)(long),
	      size_t size, size_t offset)
{
	uint8_t *bytes;
	uint8_t *exact;

	if (argc == 3 && strcmp(argv[1], option) == 0)
		return own(strtol(argv[2], NULL, 10));
	bytes = malloc(size);
	if (argc != 1 || bytes == NULL)
		return 2;
	size = fread(bytes, 1, size, stdin);
	exact = malloc(size + 1);
	if (exact == NULL)
		return 2;
	memcpy(exact + offset, bytes, size);
	free(bytes);
	LLVMFuzzerTestOneInput(exact + offset, size);
	free(exact);
	return 0;
}
