"""AArch64 programs: what they call under an emulator is in their profile, and what they cannot call is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.elf.image import parse_elf
from shim.errors import UnsupportedElfError
from shim.launch.compose import PlanFormatError, compose
from shim.profile.codec import dumps, loads
from shim.profile.profile import Profile

Cross = Callable[..., bytes]
Strace = Callable[..., set[str]]

HELLO = """
#include <stdio.h>
int main(void) { puts("hello"); return 0; }
"""
THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int count;
static void *work(void *unused)
{
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&lock);
		count++;
		pthread_mutex_unlock(&lock);
	}
	free(malloc(1 << 20));
	return unused;
}
int main(void)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) pthread_create(threads + i, 0, work, 0);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
	setuid(getuid());
	return printf("%d", count) < 0;
}
"""
SOCKETS = """
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
int main(void)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof name;
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	bind(listener, (void *)&name, size);
	listen(listener, 5);
	getsockname(listener, (void *)&name, &size);
	connect(client, (void *)&name, size);
	int server = accept(listener, 0, 0);
	send(client, "hi", 2, 0);
	struct pollfd polled = { server, POLLIN, 0 };
	poll(&polled, 1, 1000);
	char text[8];
	recv(server, text, 8, 0);
	int set = epoll_create1(0);
	struct epoll_event event = { EPOLLIN };
	epoll_ctl(set, EPOLL_CTL_ADD, server, &event);
	epoll_wait(set, &event, 1, 1);
	setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	return shutdown(client, SHUT_RDWR);
}
"""
FORKS = """
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv)
{
	int status, ends[2];
	pid_t child = fork();
	if (child == 0) {
		execve("/nonexistent", argv, environ);
		_exit(127);
	}
	waitpid(child, &status, 0);
	pipe(ends);
	if ((child = vfork()) == 0) _exit(3);
	waitpid(child, &status, 0);
	if (!posix_spawn(&child, "/nonexistent", 0, 0, argv, environ)) waitpid(child, &status, 0);
	return 0;
}
"""
SIGNALS = """
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
static volatile int got;
static void handler(int number) { got += number; }
int main(void)
{
	struct sigaction action = { .sa_handler = handler };
	sigaction(SIGUSR1, &action, 0);
	raise(SIGUSR1);
	kill(getpid(), SIGUSR1);
	struct timespec soon = { 0, 1000 };
	nanosleep(&soon, 0);
	struct stat facts;
	stat("/", &facts);
	int file = open("/dev/null", O_RDONLY);
	lseek(file, 0, SEEK_END);
	fsync(file);
	dup2(file, 9);
	close(file);
	DIR *root = opendir("/");
	while (readdir(root)) {}
	closedir(root);
	void *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page, 4096, PROT_NONE);
	munmap(page, 4096);
	char name[100];
	getcwd(name, 100);
	readlink("/proc/self/exe", name, 100);
	access("/", R_OK);
	rename("/nonexistent/a", "/nonexistent/b");
	return got == 0;
}
"""
NETWORK = {"socket", "connect", "bind", "listen", "accept", "sendto"}
STARTING = {"execve", "clone", "clone3", "wait4"}
# Source, compiler options, calls that must not be in the profile.
PROGRAMS = {
    "hello, static": (HELLO, ("-static",), NETWORK | STARTING | {"setuid"}),
    "hello, static-pie": (HELLO, ("-static-pie",), NETWORK | STARTING | {"setuid"}),
    "hello, static-pie, stripped": (HELLO, ("-static-pie", "-s"), NETWORK | STARTING | {"setuid"}),
    "threads, stripped": (THREADS, ("-static", "-s"), NETWORK | {"execve", "epoll_ctl"}),
    "sockets": (SOCKETS, ("-static",), STARTING | {"setuid", "mount"}),
    "fork and exec, stripped": (FORKS, ("-static", "-s"), NETWORK | {"setuid", "mount"}),
    "signals and files, static-pie": (SIGNALS, ("-static-pie",), NETWORK | STARTING),
    "signals and files, unoptimised": (SIGNALS, ("-static", "-O0"), NETWORK | STARTING),
}


def names(profile: Profile) -> set[str]:
    return {rule.name for rule in profile.phases[0].rules}


@pytest.mark.parametrize("program", PROGRAMS)
def test_everything_traced_is_allowed(program: str, compile_aarch64: Cross, strace_aarch64: Strace) -> None:
    source, options, dead = PROGRAMS[program]
    data = compile_aarch64(source, *options)
    profile = derive(data, program)
    traced = strace_aarch64(data)
    assert profile.complete, profile.unresolved
    assert {"exit_group", "brk"} <= traced
    assert traced - names(profile) == set()
    assert dead & names(profile) == set()


def test_go(tmp_path: Path, strace_aarch64: Strace) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text("package main\nfunc main() { println(1) }\n")
    environment = {**os.environ, "GOARCH": "arm64", "CGO_ENABLED": "0", "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", "main", "main.go"], cwd=tmp_path, env=environment, check=True)
    data = (tmp_path / "main").read_bytes()
    profile = derive(data, "go")
    missing = strace_aarch64(data) - names(profile)
    assert not missing or not profile.complete, missing
    assert {"clone", "futex", "mmap", "rt_sigaction", "tgkill", "sched_getaffinity"} <= names(profile)


def test_the_profile_survives_its_json(compile_aarch64: Cross) -> None:
    profile = derive(compile_aarch64(HELLO, "-static"), "hello")
    assert loads(dumps(profile), "hello.json") == profile


def test_no_plan_is_made_of_it(compile_aarch64: Cross) -> None:
    profile = derive(compile_aarch64(HELLO, "-static"), "hello")
    with pytest.raises(PlanFormatError) as caught:
        compose(profile, "/hello", ["hello"], {})
    assert (caught.value.found, "x86_64" in caught.value.want) == ("aarch64", True)


def test_a_dynamic_program_is_refused(compile_aarch64: Cross) -> None:
    with pytest.raises(UnsupportedElfError) as caught:
        derive(compile_aarch64(HELLO), "hello")
    assert "dynamic program for aarch64" in caught.value.found


def test_only_who_asks_gets_aarch64(compile_aarch64: Cross) -> None:
    data = compile_aarch64(HELLO, "-static")
    with pytest.raises(UnsupportedElfError) as caught:
        parse_elf(data, "hello")
    assert (caught.value.found, caught.value.want) == ("EM_AARCH64", "EM_X86_64")
    assert parse_elf(data, "hello", machines=("aarch64",)).machine == "aarch64"


@pytest.mark.parametrize(("machine", "found"), [(8, "EM_MIPS"), (243, "EM_RISCV"), (62 + 256, "318")])
def test_other_machines_are_refused_by_name(machine: int, found: str, compile_aarch64: Cross) -> None:
    data = bytearray(compile_aarch64(HELLO, "-static"))
    data[18:20] = machine.to_bytes(2, "little")
    with pytest.raises(UnsupportedElfError) as caught:
        derive(bytes(data), "hello")
    assert caught.value.found == found
