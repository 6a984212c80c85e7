/* Types into the terminal as if its user did (TIOCSTI). */
#include "hostile.h"

int main(void)
{
	char word = 0x0a;

	return verdict(syscall(SYS_ioctl, 0, 0x5412, &word));
}
