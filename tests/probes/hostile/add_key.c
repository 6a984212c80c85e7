/* Leaves a key behind. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_add_key, "user", "shim", "x", 1, -3));
}
