/* Asks for the parent's pid from a place of the caller's choice: 0, and a line, if it was answered. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* b8 0f 05 c3 90 is a move; from its second byte on it is syscall and ret */
__asm__(".type hidden, @function\nhidden: mov $0x90c3050f, %eax\n ret\n.size hidden, .-hidden\n"
	".type elsewhere, @function\nelsewhere: mov $39, %eax\n syscall\n ret\n.size elsewhere, .-elsewhere\n");
extern const char hidden[], elsewhere[];
static volatile uintptr_t one = 1;

static long call_at(uintptr_t place)
{
	long result;

	__asm__ volatile("call *%2" : "=a"(result) : "a"(110L), "r"(place) : "rcx", "r11", "memory");
	return result;
}

static uintptr_t page_of_code(int flags, int fd)
{
	static const unsigned char code[] = { 0x0f, 0x05, 0xc3 };
	int protection = fd < 0 ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ | PROT_EXEC;
	void *page;

	if (fd >= 0 && write(fd, code, sizeof(code)) != sizeof(code))
		return 0;
	page = mmap(NULL, 4096, protection, flags, fd, 0);
	if (page == MAP_FAILED)
		return 0;
	if (fd < 0)
		memcpy(page, code, sizeof(code));
	return (uintptr_t)page;
}

static long ask(const char *where)
{
	struct timespec now;

	if (strcmp(where, "own") == 0)
		return getppid();
	if (strcmp(where, "middle") == 0)
		return call_at((uintptr_t)hidden + one);
	if (strcmp(where, "elsewhere") == 0)
		return call_at((uintptr_t)elsewhere + 5 * one);
	if (strcmp(where, "page") == 0)
		return call_at(page_of_code(MAP_PRIVATE | MAP_ANONYMOUS, -1));
	if (strcmp(where, "memfd") == 0)
		return call_at(page_of_code(MAP_PRIVATE, memfd_create("code", 0)));
	if (strcmp(where, "vdso") == 0)	/* a clock that it has to ask the kernel for */
		return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0;
	return -1;
}

int main(int count, char **arguments)
{
	if (count == 1)	/* what is elsewhere is code of the program, with a call of its own */
		return ((long (*)(void))(uintptr_t)elsewhere)() < 0;
	if (ask(arguments[1]) < 0)
		return 1;
	return puts("answered") < 0;
}
