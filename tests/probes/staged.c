/* What a program does before and behind a boundary that is its main(). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *way = "";
static volatile int behind;
static volatile int handled;

static void say(const char *words)
{
	if (write(1, words, strlen(words)) < 0)
		_exit(99);
}

static void handle(int signal)
{
	(void)signal;
	handled = 1;
}

/* Calls until it is refused, which ends the program. */
static void *call_on(void *nothing)
{
	(void)nothing;
	for (;;) {
		syscall(SYS_getppid);
		if (behind)
			usleep(1000);
	}
	return NULL;
}

static void *wait_on(void *nothing)
{
	(void)nothing;
	while (!behind)
		usleep(100);
	return NULL;
}

static void *breed(void *nothing)
{
	pthread_t other;

	(void)nothing;
	for (int i = 0; i < 200; i++)
		if (pthread_create(&other, NULL, wait_on, NULL) == 0)
			pthread_detach(other);
	return NULL;
}

static void in_child(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		syscall(SYS_getppid);
		say("child\n");
		if (syscall(SYS_gettid) != -1 || errno != ENOSYS)
			_exit(3);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		_exit(98);
}

static void __attribute__((constructor)) begin(int argc, char **argv)
{
	pthread_t thread;

	way = argc > 1 ? argv[1] : "";
	if (syscall(SYS_getppid) < 0)
		_exit(97);
	say("early\n");
	if (strcmp(way, "exit") == 0)
		_exit(7);
	if (strcmp(way, "refused") == 0 && syscall(SYS_gettid) == -1)
		say(errno == EPERM ? "EPERM\n" : "refused\n");
	if (strcmp(way, "fork") == 0)
		in_child();
	if (strcmp(way, "signal") == 0) {
		signal(SIGUSR1, handle);
		kill(getpid(), SIGUSR1);
		if (!handled)
			_exit(96);
	}
	if (strcmp(way, "thread") == 0)
		for (int i = 0; i < 5; i++)
			pthread_create(&thread, NULL, call_on, NULL);
	if (strcmp(way, "storm") == 0)
		for (int i = 0; i < 3; i++)
			pthread_create(&thread, NULL, breed, NULL);
	if (strcmp(way, "exec") == 0)
		execl("/bin/echo", "echo", "executed", NULL);
	if (strcmp(way, "sleep") == 0)
		sleep(60);
}

int main(void)
{
	say("main\n");
	behind = 1;
	if (strcmp(way, "late") == 0)
		syscall(SYS_getppid);
	if (strcmp(way, "thread") == 0)
		sleep(5);
	if (strcmp(way, "late-fork") == 0 && fork() == 0)
		syscall(SYS_getppid);
	if (strcmp(way, "late-fork") == 0)
		wait(NULL);
	if (strcmp(way, "late-signal") == 0) {
		signal(SIGUSR1, handle);
		kill(getpid(), SIGUSR1);
		if (!handled)
			return 95;
	}
	say("end\n");
	return 0;
}
