/* Loads a module from a file. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_finit_module, 0, "", 0));
}
