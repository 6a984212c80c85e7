/* Speaks to devices directly. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_iopl, 3));
}
