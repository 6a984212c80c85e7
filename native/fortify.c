/*
 * What libsodium needs and a static program of musl's lacks.  Debian's is built
 * for glibc, and with its checks on calls of the C library: of those it needs one
 * that musl does not have.
 */
#define _GNU_SOURCE /* explicit_bzero, in musl's string.h */
#include <string.h>

void __explicit_bzero_chk(void *bytes, size_t size, size_t room);

void __explicit_bzero_chk(void *bytes, size_t size, size_t room)
{
	if (size > room)
		__builtin_trap();
	explicit_bzero(bytes, size);
}

/*
 * In place of libsodium's own core, which refers to the whole library.  Its
 * sodium_init chooses among implementations by processor; unchosen, each is the
 * portable one.  It also opens a source of randomness, which nothing here uses.
 */
int sodium_init(void);
_Noreturn void sodium_misuse(void);

int sodium_init(void)
{
	return 0;
}

_Noreturn void sodium_misuse(void)
{
	__builtin_trap();
}
