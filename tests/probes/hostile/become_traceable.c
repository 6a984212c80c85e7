/* Lets any process trace it. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_prctl, 0x59616d61, -1L, 0, 0, 0));
}
