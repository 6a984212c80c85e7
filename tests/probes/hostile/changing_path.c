/* Changes a path while the kernel reads it. */
#include "hostile.h"
#include <pthread.h>
static char path[64] = "OPEN";
static volatile int done;

static void *change(void *nothing)
{
	(void)nothing;
	while (!done) {
		memcpy(path, "/etc/hosts\0", 11);
		memcpy(path, "/etc/group\0", 11);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread;
	long got = -1;

	pthread_create(&thread, NULL, change, NULL);
	for (int i = 0; i < 20000 && got == -1; i++) {
		char word[5] = { 0 };
		int file = open(path, O_RDONLY);

		if (file >= 0 && read(file, word, 4) == 4 &&
		    memcmp(word, "root", 4) == 0)
			got = 0;
		if (file >= 0)
			close(file);
	}
	done = 1;
	pthread_join(thread, NULL);
	return verdict(got);
}
