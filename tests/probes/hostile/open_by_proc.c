/* Opens what it may not by a file that it has. */
#include "hostile.h"

int main(void)
{
	int root = open("/proc/self/root/etc/group", O_RDONLY);

	return verdict(root);
}
