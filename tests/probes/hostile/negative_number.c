/* A number below 0. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(-1));
}
