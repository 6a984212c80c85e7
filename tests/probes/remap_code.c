/*
 * Asks for getppid from code in the file of its first argument, then maps the
 * file of its second argument at the same address and does it again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	void *code = NULL;

	for (int i = 1; i < argc; i++) {
		union {
			void *address;
			void (*call)(void);
		} entry;
		int file = open(argv[i], O_RDONLY);

		code = mmap(code, 4096, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | (code ? MAP_FIXED : 0), file, 0);
		if (file < 0 || code == MAP_FAILED)
			return 98;
		entry.address = code;
		entry.call();
	}
	return 0;
}
