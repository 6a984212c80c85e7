/* Prints how many arguments it has, and how many bytes they and its
 * environment take with their NULs. */
#include <stdio.h>
#include <string.h>

static size_t size_of(char **strings)
{
	size_t size = 0;

	for (; *strings != NULL; strings++)
		size += strlen(*strings) + 1;
	return size;
}

int main(int argc, char **argv, char **environment)
{
	printf("%d %zu %zu\n", argc, size_of(argv), size_of(environment));
	return 0;
}
