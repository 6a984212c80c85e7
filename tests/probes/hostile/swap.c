/* Turns a file into memory. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(SYS_swapon, "/tmp/x", 0));
}
