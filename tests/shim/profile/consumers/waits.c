/* Waits to be looked at. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
