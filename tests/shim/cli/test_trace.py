"""`shim trace` as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.profile.codec import loads as profile_loads
from shim.profile.trace_json import loads

ROOT = Path(__file__).resolve().parents[3]
MakeC = Callable[..., bytes]
Shim = Callable[..., subprocess.CompletedProcess[str]]

HELLO = '#include <stdio.h>\nint main(int c, char **v) { printf("%d %s\\n", c, v[c - 1]); return 7; }\n'
# Calls getppid from memory that it filled with code itself, which no analysis of the file can see.
INJECTED = (ROOT / "docs" / "examples" / "injected.c").read_text()
FAILING = "#include <errno.h>\n#include <unistd.h>\n#include <sys/stat.h>\nint main(void) { if (getppid() >= 0) return 0; if ((int)umask(0) < 0) sync(); return 13 + errno; }\n"
RUNNER = "#include <unistd.h>\n#include <sys/wait.h>\nint main(int c, char **v, char **e) { int s; (void)c; if (fork() == 0) { execve(v[1], v + 1, e); _exit(9); } wait(&s); return 0; }\n"
WAITER = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "from shim.cli.main import main; main()",
            "trace",
            *map(str, arguments),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def build(compile_c: MakeC, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, source: str) -> Path:
        program = tmp_path / name
        program.write_bytes(compile_c(source, "-static", compiler="musl-gcc"))
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def hello(build: Callable[..., Path]) -> Path:
    return build("hello", HELLO)


def profile_of(program: Path, target: Path) -> Path:
    command = [
        sys.executable,
        "-c",
        "from shim.cli.main import main; main()",
        "profile",
        "--format",
        "json",
        str(program),
    ]
    done = subprocess.run(command, capture_output=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                          check=True)  # fmt: skip
    target.write_bytes(done.stdout)
    return target


def changed(profile: Path, change: Callable[[list[dict[str, object]]], object]) -> Path:
    value = json.loads(profile.read_text())
    change(value["phases"][0]["syscalls"])
    profile.write_text(json.dumps(value))
    return profile


def loud(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "NOT IN THE PROFILE:\n" in done.stderr
    return done.stderr.split("NOT IN THE PROFILE:\n")[1].splitlines()


def test_program_runs_as_it_is_and_its_profile_has_everything(shim: Shim, hello: Path) -> None:
    done = shim(hello, "one", "--profile")
    assert (done.returncode, done.stdout) == (0, "3 --profile\n")
    assert "run 1: exit status 7\n" in done.stderr
    assert "NOT IN THE PROFILE" not in done.stderr
    assert "in the profile, not in the trace (" in done.stderr
    (row,) = [line.split() for line in done.stderr.splitlines() if line.startswith("exit_group ")]
    assert row[:4] == ["exit_group", "231", "1", "_Exit"]


def test_what_a_failing_call_leads_to_is_recorded(shim: Shim, build: Callable[..., Path]) -> None:
    program = build("failing", FAILING)
    usual, failing = shim(program), shim("--fail", "getppid=EACCES", "--fail", "umask", program)
    assert "run 1: exit status 0\n" in usual.stderr
    assert "run 1: exit status 51\n" in failing.stderr  # EACCES and ENOSYS
    for done, traced in ((usual, False), (failing, True)):
        assert done.returncode == 0
        assert any(line.startswith("sync ") for line in done.stderr.splitlines()) is traced
        assert any(line.startswith("getppid ") for line in done.stderr.splitlines()) is not traced


def test_call_from_code_that_no_file_has_is_loud(shim: Shim, build: Callable[..., Path]) -> None:
    done = shim(build("injected", INJECTED))
    assert done.returncode == 1
    first, *_, last = loud(done)
    assert first.startswith("shim: getppid [110]: the profile does not have it: ? at 0x")
    assert "[anonymous]" in first
    assert "please report it" in last


def test_dropped_rule_place_and_arguments_are_loud(shim: Shim, hello: Path, tmp_path: Path) -> None:
    profile = profile_of(hello, tmp_path / "profile")

    def narrow(rules: list[dict[str, object]]) -> None:
        by_name = {rule["name"]: rule for rule in rules}
        rules.remove(by_name["writev"])
        by_name["exit_group"]["sites"] = []
        condition = {"index": 1, "operator": "eq", "value": 1, "mask": "0xffffffffffffffff"}
        by_name["ioctl"]["conditions"] = [[condition]]

    done = shim("--profile", changed(profile, narrow), hello)
    assert done.returncode == 1
    lines = loud(done)
    assert [line.split(":")[1].split("(")[0].strip() for line in lines[:3]] == [
        "ioctl [16]",
        "writev [20]",
        "exit_group [231]",
    ]
    assert "(_, 0x5413, _, _, _, _): the profile does not allow these arguments" in lines[0]
    assert f"at 0x" in lines[2] and f"of {hello}" in lines[2]  # noqa: F541, PT018  # one line is meant


def test_merged_profile_has_what_was_traced(shim: Shim, build: Callable[..., Path], tmp_path: Path) -> None:
    program = build("injected", INJECTED)
    assert shim("-o", "trace", "--merge", "merged", program).returncode == 1
    merged = profile_loads((tmp_path / "merged").read_bytes(), "merged")
    assert "getppid" in {rule.name for rule in merged.phases[0].rules}
    again = shim("--profile", "merged", "--compare", "trace")
    assert (again.returncode, again.stderr) == (0, "")
    assert "run 1" not in again.stdout
    assert shim("--compare", "trace").returncode == 1


def test_trace_file_is_a_union_of_runs(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("--repeat", "3", "-o", "trace", hello)
    assert done.stdout == f"1 {hello}\n" * 3
    assert done.stderr.count("exit status 7") == 3
    trace = loads((tmp_path / "trace").read_bytes(), "trace")
    assert (trace.runs, trace.program.path) == (3, str(hello))
    assert {call.name: call.count for call in trace.calls}["exit_group"] == 3


def test_report_as_json(shim: Shim, build: Callable[..., Path]) -> None:
    done = shim("--format", "json", build("injected", INJECTED))
    value = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, value["runs"]) == (1, ["exit status 1"]) or value["runs"]
    assert [finding["name"] for finding in value["lacking"]] == ["getppid"]
    assert value["lacking"][0]["sites"][0]["object"] == "[anonymous]"
    assert "rt_sigreturn" not in value["untraced"]


def test_another_program_of_a_child_is_named(shim: Shim, build: Callable[..., Path], hello: Path) -> None:
    done = shim(build("runner", RUNNER), hello)
    assert (done.returncode, done.stdout) == (0, f"1 {hello}\n")
    assert f"{hello}: " in done.stderr
    assert "calls while a descendant executed it" in done.stderr


def test_signal_that_ends_the_program_is_named(shim: Shim, build: Callable[..., Path]) -> None:
    done = shim("--timeout", "0.3", build("waiter", WAITER))
    assert done.returncode == 0
    assert "run 1: killed by SIGTERM, ended by --timeout\n" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--repeat", "0", "x"], ["--timeout", "0", "x"], ["--timeout", "-1", "x"],
                                       ["--compare", "t", "x"], ["--format", "xml", "x"], ["--fail", "getpidd", "x"],
                                       ["--fail", "getpid=EWRONG", "x"], ["--fail", "getpid=", "y="]])  # fmt: skip
def test_usage(shim: Shim, arguments: list[str]) -> None:
    done = shim(*arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("./missing", 127, "No such file"),
        ("missing-in-path", 127, "no such program"),
        ("./folder", 126, "a folder"),
        ("./text", 125, "want an ELF file"),
        ("./unexecutable", 126, "exec: Permission denied"),
    ],
)
def test_what_cannot_be_traced(
    shim: Shim, hello: Path, tmp_path: Path, name: str, code: int, words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("#!/bin/sh\necho hi\n")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "unexecutable").write_bytes(hello.read_bytes())
    done = shim(name)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert words in done.stderr


def test_profile_of_another_file_is_refused(
    shim: Shim, hello: Path, build: Callable[..., Path], tmp_path: Path
) -> None:
    profile = profile_of(build("waiter", WAITER), tmp_path / "profile")
    done = shim("--profile", profile, hello)
    assert done.returncode == 125
    assert "trace: program: found" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--profile", "--compare"])
def test_what_is_no_profile_or_trace(shim: Shim, hello: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "bad").write_text('{"schema_version": 1}')
    done = shim(option, "bad", *([hello] if option == "--profile" else []))
    assert (done.returncode, done.stdout) == (125, "")
    assert all(line.startswith("shim: bad") for line in done.stderr.splitlines())


def test_output_that_cannot_be_written(shim: Shim, hello: Path) -> None:
    done = shim("-o", "/nonexistent/trace", hello)
    assert done.returncode == 125
    assert done.stderr.splitlines()[-1].startswith("shim: /nonexistent/trace: found ")


def test_interrupt_ends_the_repetition(build: Callable[..., Path], tmp_path: Path) -> None:
    source = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts("ready"); fflush(stdout); for (;;) pause(); }\n'
    program = build("ready", source)
    command = [
        sys.executable,
        "-c",
        "from shim.cli.main import main; main()",
        "trace",
        "--repeat",
        "5",
        str(program),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        # A shell starts what runs in its background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            output, report = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "")
    assert "run 1: killed by SIGINT\n" in report
    assert "run 2" not in report
