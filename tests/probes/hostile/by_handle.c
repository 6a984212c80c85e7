/* Opens a file by its handle, past every directory. */
#include "hostile.h"

int main(void)
{
	char room[32] = { 0 };

	return verdict(syscall(SYS_open_by_handle_at, -100, room, 0));
}
