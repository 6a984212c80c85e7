"""Each call from its own places only, wherever the kernel puts the program."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.elf.image import parse_elf
from shim.elf.pages import constant_pages
from shim.filter import Moved, Part, Relocation
from shim.launch.compose import compose
from shim.launch.layout import Layout
from shim.launch.plan import LaunchPlan
from shim.launch.plan_codec import decode, encode
from tests.native.launching import (
    ALLOW,
    EXECVE,
    EXECVEAT,
    GETPPID,
    GUARD,
    IF_AT_LEAST,
    IF_EQUAL,
    LOAD_NR,
    NOTIFY,
    RETURN,
    ROOT,
    Face,
    instruction,
    plan_for,
)

Build = Callable[[str, str], Path]
BUILDS = {
    "musl": ["musl-gcc", "-static", "-O1"],
    "glibc": ["gcc", "-static", "-O1"],
    "static-pie": ["gcc", "-static-pie", "-O1"],
    "stripped": ["gcc", "-static-pie", "-O2", "-s"],
}
REFUSED = ("middle", "elsewhere", "page", "memfd")
NANOSLEEP_SECONDS = 0.5


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile a probe in one of several ways, once."""
    folder = tmp_path_factory.mktemp("pinned")

    def compiled(name: str, how: str) -> Path:
        program = folder / f"{name}-{how}"
        if not program.exists():
            source = ROOT / "tests" / "probes" / f"{name}.c"
            subprocess.run([*BUILDS[how], str(source), "-o", str(program)], check=True)
        return program

    return compiled


def pinned_plan(program: Path, *arguments: str, pin: bool = True) -> LaunchPlan:
    data = program.read_bytes()
    image = parse_elf(data, str(program))
    profile = derive(data, str(program))
    argv = (str(program), *arguments)
    layout = Layout(image.entry - image.base, constant_pages(image))
    return compose(profile, str(program), argv, {}, layout=layout, pin=pin)


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("where", ["own", "vdso"])
def test_calls_from_their_own_places_are_answered(face: Face, build: Build, how: str, where: str) -> None:
    outcome = face.launch(encode(pinned_plan(build("call_from", how), where)))
    assert (outcome.exit_code, outcome.output, outcome.events) == (0, "answered\n", ())


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("where", REFUSED)
def test_the_same_call_from_elsewhere_ends_in_an_event(
    face: Face, build: Build, how: str, where: str
) -> None:
    outcome = face.launch(encode(pinned_plan(build("call_from", how), where)))
    assert (outcome.exit_code, outcome.output) == (159, "")
    assert [event["syscall"] for event in outcome.events] == [GETPPID]


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("where", REFUSED)
def test_without_pins_it_is_answered(launcher: Face, build: Build, how: str, where: str) -> None:
    outcome = launcher.launch(encode(pinned_plan(build("call_from", how), where, pin=False)))
    assert (outcome.exit_code, outcome.output) == (0, "answered\n")


@pytest.mark.parametrize("how", BUILDS)
def test_a_stopped_sleep_goes_on_from_its_own_place(launcher: Face, build: Build, how: str) -> None:
    process = launcher.start(encode(pinned_plan(build("sleep_and_restart", how))))
    assert process.stdout is not None
    process.stdout.readline()
    program = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(program, signal.SIGSTOP)
    time.sleep(NANOSLEEP_SECONDS / 3)
    os.kill(program, signal.SIGCONT)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("how", ["glibc", "static-pie"])
def test_many_starts_at_different_addresses(launcher: Face, build: Build, how: str) -> None:
    plan = encode(pinned_plan(build("call_from", how), "own"))
    assert {launcher.launch(plan).exit_code for _ in range(50)} == {0}


def test_an_entry_point_that_is_not_the_files(face: Face, build: Build) -> None:
    plan = pinned_plan(build("call_from", "static-pie"), "own")
    assert plan.entry_point is not None
    outcome = face.launch(encode(replace(plan, entry_point=plan.entry_point + 8)))
    assert (outcome.exit_code, outcome.errors) == (
        125,
        ("shim: find-moved: the program's entry point is not the plan's",),
    )


def test_what_relocation_would_let_pass_is_not_installed(face: Face, build: Build) -> None:
    """Before it is relocated the filter refuses execve, as the plan promises; afterwards it would not."""
    tricky = GUARD + b"".join(
        instruction(*fields)
        for fields in (
            (LOAD_NR, 0, 0, 0),
            (IF_EQUAL, 2, 0, EXECVEAT),
            (IF_EQUAL, 0, 2, EXECVE),
            (IF_AT_LEAST, 0, 1, 0),
            (RETURN, 0, 0, NOTIFY),
            (RETURN, 0, 0, ALLOW),
        )
    )
    program = build("call_from", "static-pie")
    plan = decode(plan_for(program, "own", filter=tricky))
    assert face.launch(encode(plan)).exit_code == 0
    image = parse_elf(program.read_bytes(), "program")
    comparison = len(GUARD) // 8 + 3
    moved = (Relocation(comparison, Moved.VDSO, Part.LOW),)
    relocated = replace(plan, entry_point=image.entry - image.base, relocations=moved)
    outcome = face.launch(encode(relocated))
    assert outcome.exit_code == 125
    assert outcome.errors[0].startswith("shim: relocate-filter: filter[")
    assert outcome.errors[0].endswith("want a refusal: it answers execve or execveat")


def test_a_relocation_of_what_is_no_constant_is_found_out(face: Face, build: Build) -> None:
    """A load from `seccomp_data` at an address is none that the kernel accepts."""
    plan = pinned_plan(build("call_from", "static-pie"), "own")
    relocations = (Relocation(1, Moved.VDSO, Part.LOW), *plan.relocations)
    outcome = face.launch(encode(replace(plan, relocations=relocations)))
    assert outcome.exit_code == 125
    assert outcome.errors[0].startswith("shim: relocate-filter: filter[1]: found code 0x20")


REPLACEMENTS = ("write", "map", "unmap", "move", "move-over", "vdso-map", "vdso-unmap", "vdso-move")


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("way", REPLACEMENTS)
def test_code_cannot_be_replaced(launcher: Face, build: Build, how: str, way: str) -> None:
    outcome = launcher.launch(encode(pinned_plan(build("replace_code", how), way)))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (0, "refused\n", ())


@pytest.mark.parametrize("way", REPLACEMENTS)
def test_code_that_is_not_sealed_can(launcher: Face, build: Build, way: str) -> None:
    plan = replace(pinned_plan(build("replace_code", "glibc"), way), sealed=())
    assert launcher.launch(encode(plan)).output == "replaced\n"


@pytest.mark.parametrize("how", BUILDS)
def test_the_sealed_pages_are_those_of_code_and_constants(build: Build, how: str) -> None:
    program = build("replace_code", how)
    image = parse_elf(program.read_bytes(), str(program))
    sealed = constant_pages(image)
    for segment in image.segments:
        inside = any(segment.address - image.base in extent for extent in sealed)
        assert inside != segment.writable


def test_a_page_that_is_not_there_cannot_be_sealed(face: Face, build: Build) -> None:
    plan = pinned_plan(build("call_from", "glibc"), "own")
    outcome = face.launch(encode(replace(plan, sealed=(range(0x10000, 0x11000),))))
    assert outcome.exit_code == 125
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith("shim: seal-program: ")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the launcher runs x86-64 programs")
def test_shim_run_says_that_the_place_is_wrong(build: Build) -> None:
    program = build("call_from", "static-pie")
    shim = [str(ROOT / ".venv" / "bin" / "shim"), "run", "--tee", "simulated"]
    done = subprocess.run([*shim, str(program), "elsewhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 159
    assert "violation: getppid [110]" in done.stderr
    assert "in elsewhere" in done.stderr
    assert "in the profile, but not from there" in done.stderr
    done = subprocess.run(
        [*shim, "--no-pin", str(program), "elsewhere"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "answered\n")


@pytest.mark.parametrize(("answer", "became"), [("errno", "failed with EPERM"), ("audit", "let through")])
def test_shim_run_counts_what_it_answered(build: Build, answer: str, became: str) -> None:
    shim = [str(ROOT / ".venv" / "bin" / "shim"), "run", "--tee", "simulated", "--on-violation", answer]
    program = build("call_from", "glibc")
    done = subprocess.run([*shim, str(program), "page"], capture_output=True, text=True, check=False)
    assert done.returncode == (answer == "errno")
    assert f"{program}: calls that its profile does not have: 1, {became}\n" in done.stderr


def test_shim_run_refuses_events_that_nobody_gets(build: Build) -> None:
    shim = [str(ROOT / ".venv" / "bin" / "shim"), "run", "--on-violation", "audit", "--no-events"]
    done = subprocess.run(
        [*shim, str(build("call_from", "glibc"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert "--on-violation audit needs events" in done.stderr
