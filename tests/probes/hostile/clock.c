/* Sets the clock. */
#include "hostile.h"

int main(void)
{
	long now[2] = { 0, 0 };

	return verdict(syscall(SYS_clock_settime, 0, now));
}
