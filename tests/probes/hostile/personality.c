/* READ_IMPLIES_EXEC: every page that can be read is code. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_personality, 0x0400000));
}
