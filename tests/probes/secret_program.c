/*
 * Says what a program of a machine finds.  Argument 1: where its secret is, if not
 * in SECRET_FD; argument 2: what it does then.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say_secret(const char *path)
{
	char bytes[4096];
	struct stat facts;
	int fd = path[0] == '/' ? open(path, O_RDONLY) : atoi(path);
	long size = read(fd, bytes, sizeof(bytes));

	printf("secret ");
	fwrite(bytes, 1, size < 0 ? 0 : (size_t)size, stdout);
	printf("\n");
	for (char **entry = environ; *entry != NULL; entry++)
		printf("environment %s\n", *entry);
	if (path[0] == '/' && fstat(fd, &facts) == 0)
		printf("mode %o of %u, written %s\n", facts.st_mode & 0777,
		       facts.st_uid, open(path, O_WRONLY) < 0 ? "never" : "on");
	else
		printf("sealed %d, written %ld\n",
		       (fcntl(fd, F_GET_SEALS) & 15) == 15, write(fd, "x", 1));
	printf("open");
	for (int i = 0; i < 64; i++)
		if (fcntl(i, F_GETFD) >= 0)
			printf(" %d", i);
	printf("\n");
}

/* The first line of a file that begins with WORD. */
static void say_line(const char *path, const char *word)
{
	char line[512];
	FILE *file = fopen(path, "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, word, strlen(word)) == 0) {
			printf("%s %s", path, line);
			break;
		}
	if (file == NULL)
		printf("%s is not there\n", path);
	else
		fclose(file);
}

static int count_zombies(void)
{
	char path[300];
	char line[512];
	DIR *proc = opendir("/proc");
	int count = 0;

	for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ?
		       fopen(path, "r") : NULL;
		if (file == NULL)
			continue;
		if (fgets(line, sizeof(line), file) != NULL)
			count += strstr(line, ") Z ") != NULL;
		fclose(file);
	}
	closedir(proc);
	return count;
}

/* Children of a child that is gone belong to the first process. */
static void leave_orphans(void)
{
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			if (fork() == 0)
				usleep(1000);
			_exit(0);
		}
	while (wait(NULL) > 0)
		continue;
	for (int i = 0; i < 200 && count_zombies() != 0; i++)
		usleep(10000);
	printf("zombies %d\n", count_zombies());
}

static void say_machine(void)
{
	struct utsname name;

	uname(&name);
	printf("hostname %s\n", name.nodename);
	say_line("/proc/1/status", "VmRSS");
	say_line("/proc/1/status", "RssAnon");
	say_line("/proc/sys/kernel/modules_disabled", "");
	say_line("/proc/sys/kernel/sysrq", "");
	say_line("/proc/self/cgroup", "0");
	say_line("/etc/resolv.conf", "nameserver");
	say_line("/proc/net/route", "eth0\t00000000");
	say_line("/proc/net/fib_trie", "  |-- 10.0.2.15");
	leave_orphans();
}

int main(int argc, char **argv)
{
	const char *given = getenv("SECRET_FD");
	const char *act = argc > 2 ? argv[2] : "";

	say_secret(argc > 1 ? argv[1] : given != NULL ? given : "-1");
	if (strcmp(act, "machine") == 0)
		say_machine();
	fflush(stdout);
	if (strcmp(act, "refused") == 0)
		syscall(atol(argv[3]), 0, 0, 0, 0); /* no profile has it */
	if (strcmp(act, "much") == 0)
		for (int i = 0; i < 300000; i++)
			printf("line %d\n", i);
	if (strcmp(act, "wait") == 0)
		sleep(60);
	fflush(stdout);
	fprintf(stderr, "to standard error\n");
	return 7;
}
