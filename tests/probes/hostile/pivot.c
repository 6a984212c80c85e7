/* Exchanges the root. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_pivot_root, "/", "/tmp"));
}
