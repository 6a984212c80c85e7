/* Kills the launcher first. */
#include "hostile.h"

int main(void)
{
	return verdict(kill(getppid(), SIGKILL));
}
