/* Gives a file that it may not read a name where it may. */
#include "hostile.h"

int main(void)
{
	return verdict(link("/etc/group", "/tmp/shim-hostile-link"));
}
