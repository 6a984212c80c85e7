/* Reads the keys of its user. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_keyctl, 0, -3, 1));
}
