"""What a caller of the launcher gets back, on both faces: exit codes, and refusals by their step."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.launch.plan import PlanFlag, ResourceLimit
from tests.native.launching import (
    ALLOW,
    EXEC,
    GUARD,
    NOTIFY,
    RETURN,
    Face,
    all_but,
    by_number,
    instruction,
    plan_for,
)

Probe = Callable[[str], Path]
RLIMIT_STACK, RLIMIT_NOFILE = 3, 7


@pytest.mark.parametrize("status", [0, 1, 42, 125, 126, 127, 255])
def test_own_status_is_passed_on(launcher: Face, probe: Probe, status: int) -> None:
    outcome = launcher.launch(plan_for(probe("exit_with_status"), str(status)))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (status, "ran\n", ())


@pytest.mark.parametrize("number", [1, 6, 9, 11, 13, 15, 31, 34, 64])
def test_signal_is_128_more(launcher: Face, probe: Probe, number: int) -> None:
    outcome = launcher.launch(plan_for(probe("die_by_signal"), str(number)))
    assert (outcome.exit_code, outcome.errors, outcome.events) == (128 + number, (), ())


def test_both_faces_agree_on_an_ordinary_run(face: Face, probe: Probe) -> None:
    outcome = face.launch(plan_for(probe("exit_with_status"), "42"))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (42, "ran\n", ())


def failing(folder: Path, kind: str, program: Path) -> tuple[Path, int, str]:
    """A path that cannot be executed, with the exit code and the words that say why."""
    path = folder / kind
    if kind == "missing":
        return path, 127, "exec: No such file"
    if kind == "below-a-file":
        path.write_bytes(b"")
        return path / "program", 127, "exec: Not a directory"
    if kind == "directory":
        path.mkdir()
        return path, 126, "exec: Permission denied"
    if kind == "not-executable":
        shutil.copy(program, path)
        path.chmod(0o644)
        return path, 126, "exec: Permission denied"
    if kind == "no-program":
        path.write_bytes(b"\x7fELF but not really")
        path.chmod(0o755)
        return path, 126, "exec: Exec format error"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path, 125, "measure-file: sha256 found"


@pytest.mark.parametrize(
    "kind", ["missing", "below-a-file", "directory", "not-executable", "no-program", "script"]
)
def test_what_cannot_be_executed(face: Face, probe: Probe, tmp_path: Path, kind: str) -> None:
    path, exit_code, words = failing(tmp_path, kind, probe("exit_with_status"))
    outcome = face.launch(plan_for(path))
    assert outcome.exit_code == exit_code
    assert outcome.output == ""
    assert [words in line for line in outcome.errors] == [True]


def test_file_replaced_after_planning(face: Face, probe: Probe, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(probe("close_all"), program)
    plan = plan_for(program)
    program.unlink()
    shutil.copy(probe("exit_with_status"), program)
    outcome = face.launch(plan)
    assert outcome.exit_code == 125
    assert outcome.output == ""
    assert outcome.errors[0].startswith("shim: measure-file: sha256 found ")
    assert ", want " in outcome.errors[0]


def test_last_byte_of_the_file_counts(launcher: Face, probe: Probe, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(probe("exit_with_status"), program)
    plan = plan_for(program)
    with program.open("ab") as file:
        file.write(b"\0")
    assert launcher.launch(plan).exit_code == 125


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3_000_000])
def test_files_of_many_sizes_are_measured(launcher: Face, probe: Probe, tmp_path: Path, size: int) -> None:
    program = tmp_path / "program"
    shutil.copy(probe("exit_with_status"), program)
    with program.open("ab") as file:
        file.write(os.urandom(size))
    assert launcher.launch(plan_for(program, "7")).exit_code == 7


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), ()),
        (("",), (b"A=",)),
        (("a" * 100_000,), ()),
        (tuple("b" for _ in range(50_000)), ()),
        ((), tuple(b"NAME%d=%s" % (number, b"v" * 500) for number in range(400))),
        (("x" * 70_000, "y" * 70_000), (b"Z=" + b"z" * 120_000,)),
    ],
    ids=["none", "empty", "100000-bytes", "50000-arguments", "large-environment", "both"],
)
def test_arguments_and_environment_arrive(
    face: Face, probe: Probe, arguments: tuple[str, ...], environment: tuple[bytes, ...]
) -> None:
    program = probe("count_arguments")
    outcome = face.launch(plan_for(program, *arguments, environment=environment))
    size = sum(len(argument) + 1 for argument in (str(program), *arguments))
    room = sum(len(entry) + 1 for entry in environment)
    assert (outcome.exit_code, outcome.output) == (0, f"{1 + len(arguments)} {size} {room}\n")


def test_one_argument_too_large_for_the_kernel(launcher: Face, probe: Probe) -> None:
    outcome = launcher.launch(plan_for(probe("count_arguments"), "a" * 140_000))
    assert outcome.exit_code == 126
    assert "exec: Argument list too long" in outcome.errors[0]


def long_filter(count: int) -> bytes:
    """Refuses exec and allows the rest, in exactly `count` instructions."""
    start = all_but()[:-8]
    filler = instruction(0x15, 0, 0, 0) * (count - len(start) // 8 - 1)
    return start + filler + instruction(RETURN, 0, 0, ALLOW)


@pytest.mark.parametrize("count", [11, 256, 4095, 4096])
def test_filters_up_to_the_kernels_limit(face: Face, probe: Probe, count: int) -> None:
    outcome = face.launch(plan_for(probe("exit_with_status"), "6", filter=long_filter(count)))
    assert (outcome.exit_code, outcome.errors) == (6, ())


def test_stack_that_must_grow_for_the_filter(face: Face, probe: Probe) -> None:
    """The pointers to 50,000 arguments take all the room that the kernel leaves below the stack pointer."""
    arguments = ["b"] * 50_000
    outcome = face.launch(plan_for(probe("count_arguments"), *arguments, filter=long_filter(4096)))
    assert (outcome.exit_code, outcome.errors) == (0, ())
    assert outcome.output.startswith("50001 ")


def test_stack_too_small_for_the_filter(launcher: Face, probe: Probe) -> None:
    limits = (ResourceLimit(RLIMIT_STACK, 16384, 16384),)
    outcome = launcher.launch(plan_for(probe("exit_with_status"), filter=long_filter(4096), limits=limits))
    assert outcome.exit_code == 125
    assert outcome.errors == ("shim: lend-filter: the stack limit leaves no room for the filter",)


def with_return(action: int) -> bytes:
    return GUARD + instruction(RETURN, 0, 0, action)


USAGE = "shim: usage: shim-launch PLAN [ARGUMENT...]; arguments for plans that take any"
UNPROVEN = {
    "exec allowed": (with_return(ALLOW), PlanFlag(0)),
    "exec logged": (by_number(dict.fromkeys(EXEC, 0x7FFC0000), ALLOW), PlanFlag(0)),
    "exec traced": (by_number(dict.fromkeys(EXEC, 0x7FF00000), ALLOW), PlanFlag(0)),
    "only execve refused": (all_but((59,)), PlanFlag(0)),
    "only execveat refused": (all_but((322,)), PlanFlag(0)),
    "x32 exec": (
        all_but().replace(instruction(0x35, 0, 1, 0x40000000), instruction(0x35, 0, 1, 0x80000000)),
        PlanFlag(0),
    ),
    "no look at the architecture": (all_but()[24:], PlanFlag.EXEC_ALLOWED),
    "another architecture": (all_but().replace(b"\x3e\x00\x00\xc0", b"\x03\x00\x00\x40"), PlanFlag(0)),
    "falls off the end": (all_but()[:-8], PlanFlag.EXEC_ALLOWED),
    "jumps off the end": (GUARD + instruction(0x05, 0, 0, 1) + instruction(RETURN, 0, 0, 0), PlanFlag(0)),
    "unknown instruction": (GUARD + b"\xff" * 8 + instruction(RETURN, 0, 0, 0), PlanFlag(0)),
    "notifies without events": (all_but(), PlanFlag.NO_EVENTS),
}


@pytest.mark.parametrize("name", UNPROVEN)
def test_filters_that_are_refused_before_the_launch(launcher: Face, probe: Probe, name: str) -> None:
    rules, flags = UNPROVEN[name]
    outcome = launcher.launch(plan_for(probe("exit_with_status"), filter=rules, flags=flags))
    assert outcome.exit_code == 125
    assert outcome.output == ""
    (line,) = outcome.errors
    found = re.fullmatch(
        r"shim: prove-filter: filter\[(\d+)\]: found code (0x[0-9a-f]+) jt (\d+) jf (\d+) k (0x[0-9a-f]+), want .+",
        line,
    )
    assert found is not None, line
    index, *fields = (int(number, 0) for number in found.groups())
    assert instruction(*fields) == rules[8 * index : 8 * index + 8]


@pytest.mark.parametrize("action", [0x00050001, 0x00030000, 0x80000000, 0x7FF00000])
def test_filter_that_keeps_its_listener_open(launcher: Face, probe: Probe, action: int) -> None:
    rules = by_number({59: NOTIFY, 322: NOTIFY, 3: action}, ALLOW)
    outcome = launcher.launch(plan_for(probe("exit_with_status"), filter=rules))
    assert outcome.exit_code == 125
    assert outcome.output == ""
    assert outcome.errors[0].startswith("shim: close-listener: ")


@pytest.mark.parametrize("damage", ["short", "magic", "empty", "terminal"])
def test_what_is_no_plan(face: Face, probe: Probe, damage: str) -> None:
    plan = plan_for(probe("exit_with_status"))
    size = len(plan)
    bad, words = {
        "short": (
            plan[:-1],
            f"header.size: found {size} in a file of {size - 1} bytes, want the file's size",
        ),
        "magic": (b"X" + plan[1:], "header.magic: found 'XHIMPLAN', want 'SHIMPLAN'"),
        "empty": (b"", "plan: found 0 bytes, want 32 bytes to 4 MiB"),
        "terminal": (
            b"\x1b]0;\xff\r\n'" + plan[8:],
            r"header.magic: found '\x1b]0;\xff\x0d\x0a\x27', want 'SHIMPLAN'",
        ),
    }[damage]
    outcome = face.launch(bad)
    assert (outcome.exit_code, outcome.output, outcome.errors) == (125, "", (f"shim: {words}",))


@pytest.mark.parametrize("damaged", [False, True])
def test_cpu_without_sha_instructions(
    probe: Probe,
    native_build: Callable[[str], Path],
    tmp_path: Path,
    damaged: bool,  # noqa: FBT001  # parametrised
) -> None:
    """The build with faults tries an instruction that no CPU has: it must go on, and measure as well."""
    face = Face("faults", (str(native_build("faults") / "shim-launch-faults"), "die", "no-step"), tmp_path)
    outcome = face.launch(plan_for(probe("exit_with_status"), "6", digest=bytes(32) if damaged else None))
    assert outcome.exit_code == (125 if damaged else 6)
    assert [line.split(" found")[0] for line in outcome.errors] == ["shim: measure-file: sha256"] * damaged


def test_illegal_instruction_signal_is_still_the_programs(launcher: Face, probe: Probe) -> None:
    """The launcher takes SIGILL for an instant; the program dies by it, and one sent to the launcher is passed on."""
    assert launcher.launch(plan_for(probe("die_by_signal"), "4")).exit_code == 128 + signal.SIGILL
    process = launcher.start(plan_for(probe("run_on")))
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGILL)
    process.wait(timeout=10)  # before its input is closed, at which the program ends by itself
    assert process.returncode == 128 + signal.SIGILL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/nonexistent/plan",), "shim: read-plan: No such file or directory"),
        (("/",), "shim: read-plan: Is a directory"),
        ((), USAGE),
        (("/nonexistent/plan", "two"), "shim: read-plan: No such file or directory"),
    ],
)
def test_command_line_of_the_launcher(launcher: Face, arguments: tuple[str, ...], words: str) -> None:
    done = subprocess.run([*launcher.command, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (125, "", f"{words}\n")


def test_secure_mode_is_refused(launcher: Face, probe: Probe) -> None:
    """A real uid that differs from the effective one sets AT_SECURE, also without a setuid file."""
    if os.geteuid() != 0:
        pytest.skip("needs root to have two different uids")
    outcome = launcher.launch(
        plan_for(probe("exit_with_status")), preexec_fn=lambda: os.setresuid(65534, 0, 0)
    )
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors == ("shim: check-stack: AT_SECURE found 1, want 0",)


def test_setuid_bit_gives_nothing(launcher: Face, probe: Probe, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(probe("print_state"), program)
    program.chmod(0o4755)
    outcome = launcher.launch(plan_for(program))
    assert outcome.exit_code == 0
    assert "secure 0" in outcome.output.splitlines()


def test_ordinary_user(launcher: Face, probe: Probe, public_folder: Path) -> None:
    """Without a single capability: no bounding set to drop, and a launcher that hides from ptrace."""
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as an ordinary user already")
    program = Path(shutil.copy(probe("print_state"), public_folder / "program"))
    copied = shutil.copy(launcher.command[0], public_folder / "shim-launch")
    plan = public_folder / "plan"
    plan.write_bytes(plan_for(program))
    done = subprocess.run(
        [copied, plan], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "NoNewPrivs:\t1" in done.stdout
    assert "CapEff:\t0000000000000000" in done.stdout


def test_program_killed_by_another_hand(launcher: Face, probe: Probe) -> None:
    process = launcher.start(plan_for(probe("run_on")))
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGKILL
