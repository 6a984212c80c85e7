/* A number that no kernel has: libcs ask for those, and fall back. */
#include "hostile.h"

int main(void)
{
	return verdict(syscall(999));
}
