/* Makes a segment of 16 bits. */
#include "hostile.h"

int main(void)
{
	uint32_t entry[4] = { 0, 0x1000, 0xfffff, 0x51 };

	return verdict(syscall(SYS_modify_ldt, 1, entry, sizeof(entry)));
}
