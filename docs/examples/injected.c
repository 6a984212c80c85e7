/*
 * A program that was taken over: it runs machine code that came in as data and
 * that no analysis of its file can see.  The code calls getppid, which nothing
 * in the file does.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const unsigned char injected[] = {
	0xb8, 110, 0, 0, 0,	/* mov eax, 110 (getppid) */
	0x0f, 0x05,		/* syscall */
	0xc3,			/* ret */
};

int main(void)
{
	void *page;

	puts("before the injected code");
	fflush(stdout);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 1;
	memcpy(page, injected, sizeof(injected));
	((long (*)(void))page)();
	puts("after it: nothing stopped me");
	return 0;
}
