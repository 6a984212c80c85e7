/* The same by prctl. */
#include "hostile.h"

int main(void)
{
	struct { unsigned short count; void *at; } none = { 0, 0 };

	return verdict(syscall(SYS_prctl, 22, 2, &none, 0, 0));
}
