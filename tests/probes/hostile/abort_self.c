/* Ends by abort(): the ways that a libc has for that stay open. */
#include "hostile.h"

int main(void)
{
	signal(SIGABRT, SIG_IGN);
	puts("blocked");
	fflush(stdout);
	abort();
}
