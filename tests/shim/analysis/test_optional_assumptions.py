"""What is taken out only where somebody asked for the assumption, and what stays even then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.assumptions import (
    C_LOCALE,
    DEFAULT,
    MAIN_RETURNS,
    NO_ENGINES,
    NO_USERDB,
    VDSO_CLOCKS,
    Assumption,
)
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.profile import Profile
from tests.shim.analysis.test_wide_findings import HOST, machine

Assemble = Callable[..., bytes]
Compile = Callable[..., bytes]

TIME, GETTIMEOFDAY, GETPID, SYSLOG = 201, 96, 39, 103
CLOCKS = """
_start: mov eax, 201
 syscall
 mov eax, 96
 syscall
 mov eax, 39
 syscall
 mov eax, 60
 syscall
 .asciz "__vdso_time"
"""


def issued(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


def named(profile: Profile, assumption: Assumption) -> bool:
    return str(assumption) in profile.assumptions


def test_clocks_are_asked_of_the_kernel_by_default(assemble: Assemble) -> None:
    profile = derive(assemble(CLOCKS), "program")
    assert issued(profile) == {TIME, GETTIMEOFDAY, GETPID, 60}
    assert not named(profile, VDSO_CLOCKS)


def test_only_the_clock_that_is_looked_up_is_left_to_the_vdso(assemble: Assemble) -> None:
    profile = derive(assemble(CLOCKS), "program", assume=DEFAULT | {VDSO_CLOCKS})
    assert issued(profile) == {GETTIMEOFDAY, GETPID, 60}
    assert named(profile, VDSO_CLOCKS)


@pytest.mark.parametrize(
    "source", [CLOCKS.replace("__vdso_time", "vdso_time"), CLOCKS.replace("_time", "_times")]
)
def test_a_program_without_its_name_keeps_its_own_call(source: str, assemble: Assemble) -> None:
    profile = derive(assemble(source), "program", assume=DEFAULT | {VDSO_CLOCKS})
    assert TIME in issued(profile)
    assert not named(profile, VDSO_CLOCKS)


def test_an_instruction_that_issues_other_calls_too_stays(assemble: Assemble) -> None:
    source = (
        "_start: mov eax, 201\n mov edx, 39\n cmp rsp, 7\n cmove eax, edx\n syscall\n mov eax, 60\n syscall"
    )
    data = assemble(source + '\n .asciz "__vdso_time"')
    assert issued(derive(data, "program", assume=DEFAULT | {VDSO_CLOCKS})) >= {TIME, GETPID}


ENGINE = "#include <sys/klog.h>\nint {name}(void) {{ return klogctl(10, 0, 0); }}\n"
ENTRIES = ("bind_engine", "OSSL_provider_init")


def _host(name: str, compile_c: Compile, tmp_path: Path) -> Path:
    plugin = compile_c(ENGINE.format(name=name), "-shared", "-fPIC")
    return machine(tmp_path, compile_c(HOST), plugin)


@pytest.mark.parametrize("name", ENTRIES)
def test_engines_are_opened_unless_assumed_not_to_be(name: str, compile_c: Compile, tmp_path: Path) -> None:
    root = _host(name, compile_c, tmp_path)
    host, files = (root / "host").read_bytes(), RootedFiles(str(root))
    assert SYSLOG in issued(derive(host, "/host", files=files))
    profile = derive(host, "/host", files=files, assume=DEFAULT | {NO_ENGINES})
    assert SYSLOG not in issued(profile)
    assert named(profile, NO_ENGINES)


def test_a_declared_engine_is_opened(compile_c: Compile, tmp_path: Path) -> None:
    root = _host("bind_engine", compile_c, tmp_path)
    profile = derive(
        (root / "host").read_bytes(),
        "/host",
        files=RootedFiles(str(root)),
        modules=("/usr/lib/host/plugins/first.so",),
        assume=DEFAULT | {NO_ENGINES},
    )
    assert SYSLOG in issued(profile)


def test_other_plugins_are_no_engines(compile_c: Compile, tmp_path: Path) -> None:
    root = _host("entry", compile_c, tmp_path)
    files = RootedFiles(str(root))
    profile = derive((root / "host").read_bytes(), "/host", files=files, assume=DEFAULT | {NO_ENGINES})
    assert SYSLOG in issued(profile)
    assert not named(profile, NO_ENGINES)


def taken(data: bytes, assumption: Assumption) -> tuple[set[str], bool]:
    """Return the names of the calls that an assumption takes out, and whether the profile says so."""
    plain = derive(data, "program", files=RootedFiles("/"))
    profile = derive(data, "program", files=RootedFiles("/"), assume=DEFAULT | {assumption})
    assert not named(plain, assumption)
    assert profile.complete
    kept = {rule.name for rule in profile.phases[0].rules}
    assert kept <= {rule.name for rule in plain.phases[0].rules}
    return {rule.name for rule in plain.phases[0].rules} - kept, named(profile, assumption)


HELLO = '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }'
CLOCK = "#include <time.h>\nint main(int c, char **v) {{ struct timespec t; return clock_gettime({}, &t); }}"


READ_BY_VDSO = {
    "CLOCK_MONOTONIC": True,
    "CLOCK_BOOTTIME": True,
    "CLOCK_PROCESS_CPUTIME_ID": False,
    "c": False,
}


@pytest.mark.parametrize("clock", READ_BY_VDSO)
@pytest.mark.parametrize("linkage", ["-static", "-no-pie"])
def test_the_vdso_reads_clocks_but_not_all(clock: str, linkage: str, compile_c: Compile) -> None:
    calls, said = taken(compile_c(CLOCK.format(clock), linkage), VDSO_CLOCKS)
    assert ("clock_gettime" in calls) == READ_BY_VDSO[clock]
    assert said or not READ_BY_VDSO[clock]


def test_the_programs_own_instruction_asks_the_kernel(compile_c: Compile) -> None:
    source = """
    #include <time.h>
    int main(void) {
        struct timespec t;
        long result;
        __asm__ volatile("syscall" : "=a"(result) : "a"(228L), "D"(1L), "S"(&t) : "rcx", "r11", "memory");
        return (int)result;
    }"""
    assert "clock_gettime" not in taken(compile_c(source, "-no-pie"), VDSO_CLOCKS)[0]


def test_main_that_returns_ends_the_process(compile_c: Compile) -> None:
    assert taken(compile_c(HELLO, "-static"), MAIN_RETURNS) == ({"exit"}, True)


THREADS = """
#include <pthread.h>
static void *run(void *argument) { return argument; }
int main(void) { pthread_t t; return pthread_create(&t, 0, run, 0) || pthread_join(t, 0); }
"""


@pytest.mark.parametrize("linkage", ["-static", "-no-pie"])
def test_other_threads_end_alone(linkage: str, compile_c: Compile) -> None:
    assert "exit" not in taken(compile_c(THREADS, linkage, "-pthread"), MAIN_RETURNS)[0]


def test_a_program_that_ends_its_thread_itself_does(compile_c: Compile) -> None:
    source = "#include <unistd.h>\n#include <sys/syscall.h>\nint main(void) { return syscall(SYS_exit, 0); }"
    assert "exit" not in taken(compile_c(source, "-static"), MAIN_RETURNS)[0]


def test_locales_and_catalogues_are_files(compile_c: Compile) -> None:
    calls, said = taken(compile_c(HELLO, "-static"), C_LOCALE)
    assert "sysinfo" in calls  # how much memory may a sorted list of aliases take?
    assert said


def test_files_of_the_program_are_no_locales(compile_c: Compile) -> None:
    source = "#include <unistd.h>\nint main(void) { char b[99]; return getcwd(b, 99) == 0; }"
    assert "getcwd" not in taken(compile_c(source, "-static"), C_LOCALE)[0]


USERS = """
extern int {entry}(void);
int {entry}(void);
#include <stdio.h>
#include <sys/klog.h>
const char *where = "{socket}";
int {entry}(void) {{ if (!where) printf("%s", "{file}"); else return klogctl(10, 0, 0); return 0; }}
"""
SOCKET, LOOP = "/run/systemd/userdb/io.systemd.Multiplexer", "src/libsystemd/sd-event/sd-event.c"


SERVICES = {
    "asks for users": ("_nss_systemd_getpwnam_r", SOCKET, LOOP, True),
    "another service": ("_nss_other_getpwnam_r", SOCKET, LOOP, False),
    "another socket": ("_nss_systemd_getpwnam_r", "/run/other", LOOP, False),
    "another file": ("_nss_systemd_getpwnam_r", SOCKET, "src/other.c", False),
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_event_loop_of_the_name_service(name: str, compile_c: Compile, tmp_path: Path) -> None:
    entry, socket, file, gone = SERVICES[name]
    module = compile_c(USERS.format(entry=entry, socket=socket, file=file), "-shared", "-fPIC")
    root = machine(tmp_path, compile_c(HOST.replace('"entry"', f'"{entry}"')), module)
    host, files = (root / "host").read_bytes(), RootedFiles(str(root))
    modules = ("/usr/lib/host/plugins/first.so",)
    assume = DEFAULT | {NO_USERDB}
    profile = derive(host, "/host", files=files, modules=modules, assume=assume)
    assert (SYSLOG not in issued(profile)) == gone
    assert named(profile, NO_USERDB) == gone
    assert SYSLOG in issued(derive(host, "/host", files=files, modules=modules))
