/* The same with a request whose low half is it. */
#include "hostile.h"

int main(void)
{
	char word = 0x0a;

	return verdict(syscall(SYS_ioctl, 0, 0x100005412UL, &word));
}
