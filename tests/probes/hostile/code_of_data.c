/* Makes a page of data executable. */
#include "hostile.h"

int main(void)
{
	char *page = mmap(NULL, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return verdict(mprotect(page, 4096, 5));
}
