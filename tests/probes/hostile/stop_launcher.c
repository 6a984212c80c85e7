/* Stops the launcher, so that nobody listens. */
#include "hostile.h"

int main(void)
{
	return verdict(kill(getppid(), SIGSTOP));
}
