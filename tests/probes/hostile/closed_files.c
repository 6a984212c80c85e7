/* Closes and replaces every file that it has. */
#include "hostile.h"

int main(void)
{
	for (int file = 0; file < 1024; file++)
		if (file != 1)
			close(file);
	for (int file = 3; file < 64; file++)
		dup2(1, file);
	return verdict(-1);
}
