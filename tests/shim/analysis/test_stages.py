"""What is over once main() runs: surely nothing that can still be called, and what the startup alone needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.phases import rules_from

Compile = Callable[..., bytes]

PROGRAM = """
#define _GNU_SOURCE
#include <signal.h>
#include <sys/klog.h>
#include <unistd.h>
void (*volatile held)(void);
static void handler(int number) {{ (void)number; }}
__attribute__((noinline)) void early(void) {{ klogctl(10, 0, 0); }}
__attribute__((constructor)) static void begin(void) {{ {constructor} }}
int main(int count, char **words) {{ {main} return write(1, words[0], count) < 0; }}
"""
READS_LOG = {
    "called by main": ("early();", "early();", True),
    "held in a variable": ("held = early; early();", "held();", True),
    "called by the constructor alone": ("early();", "", False),
}


@pytest.fixture(params=["-static", "-static-pie"])
def calls(request: pytest.FixtureRequest, compile_c: Compile) -> Callable[[str, str], dict[str, set[str]]]:
    def found(constructor: str, main: str) -> dict[str, set[str]]:
        source = PROGRAM.format(constructor=constructor, main=main)
        profile = derive(compile_c(source, request.param, "-O1"), "program")
        assert profile.complete, profile.unresolved
        return {phase.name: {rule.name for rule in phase.rules} for phase in profile.phases}

    return found


@pytest.mark.parametrize("name", READS_LOG)
def test_main_keeps_what_it_can_still_call(
    name: str, calls: Callable[[str, str], dict[str, set[str]]]
) -> None:
    constructor, main, kept = READS_LOG[name]
    phases = calls(constructor, main)
    assert "syslog" in phases["startup"]
    assert ("syslog" in phases["main"]) == kept


def test_later_phases_are_subsets(calls: Callable[[str, str], dict[str, set[str]]]) -> None:
    phases = calls("", "")
    assert phases["main"] < phases["startup"]
    assert {"arch_prctl", "set_tid_address"} <= phases["startup"] - phases["main"]


def test_a_signal_returns_from_a_handler_that_the_startup_installed(
    calls: Callable[[str, str], dict[str, set[str]]],
) -> None:
    phases = calls("signal(SIGUSR1, handler);", "")
    assert all("rt_sigreturn" in found for found in phases.values())


NAMED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
typedef int Function(void);
static __attribute__((noinline)) Function *find(const char *name) {
    return (Function *)dlsym(RTLD_DEFAULT, name);
}
int third(void) { return (int)syscall(324, 0, 0, 0); }
int second(void) { return find("third")(); }
int main(void) { return find("second")(); }
"""


def test_names_that_looked_up_functions_look_up_are_found(compile_c: Compile, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(compile_c(NAMED, "-O1", "-rdynamic"))
    profile = derive(program.read_bytes(), str(program), files=RootedFiles("/"))
    assert "membarrier" in {rule.name for rule in profile.phases[0].rules} or not profile.complete


RAW = '__asm__ volatile("syscall" : "=a"(got) : "a"(%dL) : "rcx", "r11", "memory")'
GETPPID, GETPGRP = 110, 111
PLUGIN = "__attribute__((constructor)) static void begin(void) { long got; %s; (void)got; }\n"
OPENER = """
#include <dlfcn.h>
__attribute__((constructor)) static void begin(void) { long got; %s; (void)got; }
int main(void) { return dlopen("%s", RTLD_NOW) == 0; }
"""


def test_initialisers_of_what_is_opened_later_run_later(compile_c: Compile, tmp_path: Path) -> None:
    """Not before main(), as those of the program and of what it needs."""
    plugin = tmp_path / "plugin.so"
    plugin.write_bytes(compile_c(PLUGIN % (RAW % GETPPID), "-shared", "-fPIC"))
    data = compile_c(OPENER % (RAW % GETPGRP, plugin), "-no-pie", "-fno-inline")
    profile = derive(data, str(tmp_path / "program"), files=RootedFiles("/"))
    assert str(plugin) in {one.path for one in profile.objects}
    startup, main = ({rule.number for rule in rules_from(profile, phase)} for phase in (0, 1))
    assert {GETPPID, GETPGRP} <= startup
    assert GETPPID in main
    assert GETPGRP not in main
