/* Looks for files of the launcher among its own. */
#include "hostile.h"

int main(void)
{
	for (int file = 3; file < 1024; file++)
		if (fcntl(file, F_GETFD) != -1)
			return verdict(file);
	return verdict(-1);
}
