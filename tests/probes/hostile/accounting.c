/* Lets the kernel write to a file. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_acct, "/tmp/x"));
}
