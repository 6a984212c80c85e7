"""`shim diff` and the new formats of `shim profile`, as a person or a CI job calls them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shim.filter import FilterProgram, check
from shim.profile import dumps
from shim.profile.profile import (
    AnalysedObject,
    ArgumentCondition,
    Phase,
    Profile,
    SyscallRule,
    UnresolvedSite,
)

ROOT = Path(__file__).resolve().parents[3]
PLAIN = '#include <stdio.h>\nint main(void) { puts("x"); return 0; }\n'
NETWORK = (
    '#include <stdio.h>\n#include <sys/socket.h>\nint main(void) { puts("x"); return socket(2, 1, 0) < 0; }\n'
)
Shim = Callable[..., subprocess.CompletedProcess[bytes]]
MakeC = Callable[..., bytes]

IOCTL = SyscallRule(16, "ioctl", ((ArgumentCondition(1, "eq", 0x5401),),))
BASE = Profile(
    "x86_64",
    (AnalysedObject("/bin/p", "00" * 32, ""),),
    (Phase("startup", None, (SyscallRule(0, "read"),)), Phase("main", 0x40_1000, (IOCTL,))),
    (),
    (),
    (),
    "0",
)
WIDER = replace(
    BASE,
    phases=(
        BASE.phases[0],
        replace(
            BASE.phases[1],
            rules=(replace(IOCTL, conditions=(*IOCTL.conditions, (ArgumentCondition(1, "eq", 0x5402),))),),
        ),
    ),
)
OPEN = replace(
    BASE, unresolved=(UnresolvedSite("/bin/\x1b[31mp", 16, "f\n+ forged", "a number from a file"),)
)


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", "from shim.cli.main import main; main()", *map(str, arguments)]
        keywords = {
            "capture_output": True,
            "env": environment,
            "cwd": tmp_path,
            "timeout": 120,
            "check": False,
            **options,
        }
        done: subprocess.CompletedProcess[bytes] = subprocess.run(command, **keywords)  # type: ignore[call-overload]  # noqa: PLW1510  # it is in there
        assert b"Traceback" not in (done.stderr or b""), done.stderr
        return done

    return run


def saved(folder: Path, name: str, profile: Profile) -> Path:
    (folder / name).write_bytes(dumps(profile))
    return folder / name


@pytest.mark.parametrize(
    ("before", "after", "options", "code"),
    [
        (BASE, BASE, [], 0),
        (BASE, WIDER, [], 1),
        (WIDER, BASE, [], 0),
        (WIDER, BASE, ["--exact"], 1),
        (BASE, BASE, ["--exact"], 0),
        (BASE, OPEN, [], 1),
        (OPEN, BASE, [], 0),
        (OPEN, OPEN, [], 0),
    ],
)
def test_the_exit_code_is_the_answer(
    shim: Shim, tmp_path: Path, before: Profile, after: Profile, options: list[str], code: int
) -> None:
    done = shim("diff", *options, saved(tmp_path, "a", before), saved(tmp_path, "b", after))
    assert (done.returncode, done.stderr) == (code, b"")


def test_wider_arguments_are_named(shim: Shim, tmp_path: Path) -> None:
    done = shim("diff", saved(tmp_path, "a", BASE), saved(tmp_path, "b", WIDER))
    lines = done.stdout.decode().splitlines()
    (row,) = (line for line in lines if line.startswith("+"))
    assert row.split()[:5] == ["+", "ioctl", "widened", "moderate", "all"]
    assert "now op = 0x5402" in row
    assert lines[-1].endswith("B may do more than A; 1 widened")


def test_json_says_the_same(shim: Shim, tmp_path: Path) -> None:
    done = shim("diff", "--format", "json", saved(tmp_path, "a", BASE), saved(tmp_path, "b", WIDER))
    document = json.loads(done.stdout)
    assert document["grew"] is True
    (change,) = document["syscalls"]
    assert (change["change"], change["name"], change["phases"]) == ("widened", "ioctl", ["startup", "main"])
    assert change["arguments"] == {"before": ["op = 0x5401"], "after": ["op = 0x5401", "op = 0x5402"]}
    opened = json.loads(shim("diff", "--format", "json", tmp_path / "a", saved(tmp_path, "c", OPEN)).stdout)
    assert opened["complete"] == {"before": True, "after": False}
    assert opened["unresolved"]["added"][0]["reason"] == "a number from a file"


def test_hostile_names_stay_on_their_line(shim: Shim, tmp_path: Path) -> None:
    text = shim("diff", saved(tmp_path, "a", BASE), saved(tmp_path, "b", OPEN)).stdout.decode()
    assert "\x1b" not in text
    assert not any(line.startswith("+ forged") for line in text.splitlines())
    assert "+ no longer complete" in text.splitlines()


def test_programs_are_derived_and_compared(shim: Shim, tmp_path: Path, compile_c: MakeC) -> None:
    for name, source in (("plain", PLAIN), ("network", NETWORK)):
        (tmp_path / name).write_bytes(compile_c(source, "-static", compiler="musl-gcc"))
    done = shim("diff", "plain", "network")
    assert done.returncode == 1
    assert any(line.split()[:3] == ["+", "socket", "added"] for line in done.stdout.decode().splitlines())
    shim("profile", "--format", "json", "-o", "plain.json", "plain")
    assert shim("diff", "plain.json", "plain").returncode == 0
    assert shim("diff", "network", "plain.json").returncode == 0


def test_a_profile_from_a_pipe_and_from_standard_input(shim: Shim, tmp_path: Path) -> None:
    saved(tmp_path, "b", BASE)
    assert shim("diff", "-", "b", input=dumps(BASE)).returncode == 0
    reading, writing = os.pipe()
    os.write(writing, dumps(WIDER))
    os.close(writing)
    try:
        assert shim("diff", f"/dev/fd/{reading}", "b", pass_fds=[reading]).returncode == 0
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "Expecting value"),
        (b"#!/bin/sh\n", "Expecting value"),
        (b"{}", "no 'arch'"),
        (b"\x7fELF", "4 bytes"),
    ],
)
def test_what_is_neither_profile_nor_program_is_2_and_never_1(
    shim: Shim, tmp_path: Path, content: bytes, found: str
) -> None:
    saved(tmp_path, "a", BASE)
    (tmp_path / "b").write_bytes(content)
    for pair in (("a", "b"), ("b", "a")):
        done = shim("diff", *pair)
        assert done.returncode == 2
        assert done.stdout == b""
        assert found in done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["a", "missing"],
        ["a", "."],
        ["a", "a", "a"],
        ["--what", "a", "a"],
        ["--assume", "nothing-of-the-kind", "a", "a"],
    ],
)
def test_bad_usage_is_2(shim: Shim, tmp_path: Path, arguments: list[str]) -> None:
    saved(tmp_path, "a", BASE)
    assert shim("diff", *arguments).returncode == 2


def test_every_format_is_written(shim: Shim, tmp_path: Path, compile_c: MakeC) -> None:
    (tmp_path / "plain").write_bytes(compile_c(PLAIN, "-static", compiler="musl-gcc"))
    starts = {
        "html": b"<!DOCTYPE html>",
        "spo": b"# Syscall profile of ",
        "systemd": b"# Syscall profile of ",
        "libseccomp": b"/*\n * Syscall profile of ",
    }
    for name, start in starts.items():
        done = shim("profile", "--format", name, "plain")
        assert done.returncode == 0
        assert done.stdout.startswith(start), name
        assert done.stdout.endswith(b"\n")
    for name in ("bpf", "bwrap"):
        check(FilterProgram.decode(shim("profile", "--format", name, "plain").stdout))


def test_bytes_do_not_go_to_a_terminal(shim: Shim, tmp_path: Path, compile_c: MakeC) -> None:
    (tmp_path / "plain").write_bytes(compile_c(PLAIN, "-static", compiler="musl-gcc"))
    leader, terminal = pty.openpty()
    try:
        options = {"capture_output": False, "stdout": terminal, "stderr": subprocess.PIPE}
        done = shim("profile", "--format", "bpf", "plain", **options)
        assert done.returncode == 2
        assert b"-o FILE" in done.stderr
        kept = shim("profile", "--format", "bpf", "-o", "filter", "plain", **options)
        assert kept.returncode == 0
    finally:
        os.close(leader)
        os.close(terminal)
    check(FilterProgram.decode((tmp_path / "filter").read_bytes()))
