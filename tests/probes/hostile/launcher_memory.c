/* Opens the memory of the launcher, as a process of its user may. */
#include "hostile.h"

int main(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	return verdict(open(path, O_RDWR));
}
