/* Maps a page that is writable and executable. */
#include "hostile.h"

int main(void)
{
	return verdict((long)mmap(NULL, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
