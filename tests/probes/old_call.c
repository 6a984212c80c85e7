/* Asks for getpid by int 0x80, as a program of another architecture would. */
int main(void)
{
	long number = 20;

#ifdef __x86_64__
	__asm__ volatile("int $0x80" : "+a"(number) : : "memory");
#endif
	return number > 0 ? 0 : 98;
}
