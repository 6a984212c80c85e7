/* Maps a file of its own making as code, which no-exec-gain lets it. */
#include "hostile.h"

int main(void)
{
	int file = memfd_create("code", 0);

	if (ftruncate(file, 4096) != 0)
		return 1;
	return verdict((long)mmap(NULL, 4096, 5, MAP_PRIVATE, file, 0));
}
