/*
 * Debian's libsodium is built for glibc, and with its checks on calls of the C
 * library.  Of those it needs one that musl does not have.
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
