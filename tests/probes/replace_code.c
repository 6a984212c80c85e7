/*
 * Tries to get other bytes to where its own code, or the vDSO, is, in the way that its argument names.
 * Prints "refused" or "replaced".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define PAGE 4096

static int done(long result)
{
	int refused = result == -1 && errno == EPERM;

	if (result == -1 && !refused)
		return 97;
	return puts(refused ? "refused" : "replaced") < 0;
}

/* a page of its own, so that the rest goes on when it is replaced */
__attribute__((aligned(PAGE), noinline)) static int code(int value)
{
	__asm__ volatile(".skip 4096, 0x90");
	return value + 1;
}

static size_t size_of_vdso(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, size = 0;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
			size = end - start;
	return size;
}

int main(int count, char **arguments)
{
	size_t size = PAGE;
	char *page = (char *)((uintptr_t)code & -(uintptr_t)PAGE);
	const char *how = count > 1 ? arguments[1] : "";
	char *other = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (other == MAP_FAILED || code(count) != count + 1)
		return 98;
	if (strncmp(how, "vdso-", 5) == 0) {
		page = (char *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
		size = size_of_vdso();	/* no part of it can be changed, seal or not */
		how += 5;
	}
	if (strcmp(how, "write") == 0)
		return done(mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC));
	if (strcmp(how, "map") == 0)
		return done((long)mmap(page, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	if (strcmp(how, "unmap") == 0)
		return done(munmap(page, size));
	if (strcmp(how, "move") == 0)
		return done((long)mremap(page, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, other));
	if (strcmp(how, "move-over") == 0)
		return done((long)mremap(other, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, page));
	return 99;
}
