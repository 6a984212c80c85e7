/* Uses as many MB as its argument says, and then says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	size_t size = (size_t)atoi(argc > 1 ? argv[1] : "1") << 20;
	char *memory = malloc(size);

	if (memory == NULL)
		return 1;
	memset(memory, 1, size);
	printf("used %d\n", memory[size - 1]);
	return 0;
}
