/* Opens its own memory, through which constant pages can be written. */
#include "hostile.h"

int main(void)
{
	return verdict(open("/proc/self/mem", O_RDWR));
}
