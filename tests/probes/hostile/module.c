/* Loads a module. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_init_module, "", 0, ""));
}
