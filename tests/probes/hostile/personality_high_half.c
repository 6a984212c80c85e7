/* The same beside a number whose low half is allowed. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_personality, 0x1ffffffffUL));
}
