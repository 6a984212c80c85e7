"""From a boundary on a tighter filter, for all threads; and what the loader maps is measured before."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.launch.compose import compose
from shim.launch.layout import layout_of
from shim.launch.plan import LaunchPlan, PlanFlag, Stage
from shim.launch.plan_codec import encode
from tests.native.launching import (
    ALLOW,
    EXEC,
    GETPPID,
    NOTIFY,
    ROOT,
    TRACE,
    Face,
    by_number,
    is_running,
)
from tests.native.test_death import wait_until_gone

Build = Callable[[str], Path]
GETTID, PTRACE = 186, 101
BUILDS = {
    "glibc": ["gcc", "-static"],
    "static-pie": ["gcc", "-static-pie"],
    "dynamic": ["gcc", "-pie"],
    "fixed": ["gcc", "-no-pie"],
}
EARLY = by_number(dict.fromkeys((*EXEC, GETTID, PTRACE), TRACE), ALLOW)
LATE = by_number(dict.fromkeys((*EXEC, GETTID, PTRACE, GETPPID), NOTIFY), ALLOW)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile the probe in one of several ways, once."""
    folder = tmp_path_factory.mktemp("staged")

    def compiled(how: str) -> Path:
        program = folder / how
        if not program.exists():
            source = ROOT / "tests" / "probes" / "staged.c"
            subprocess.run([*BUILDS[how], "-O1", "-pthread", str(source), "-o", str(program)], check=True)
        return program

    return compiled


def main_of(program: Path) -> int:
    listed = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith(" T main"))


def staged_plan(program: Path, way: str, *, flags: PlanFlag = PlanFlag(0)) -> LaunchPlan:  # noqa: B008  # a number
    """A plan with a boundary at main(), behind which getppid is refused."""
    image = parse_elf(program.read_bytes(), str(program))
    return LaunchPlan(
        program=os.fsencode(program),
        digest=hashlib.sha256(program.read_bytes()).digest(),
        filter=EARLY,
        argv=(os.fsencode(program), way.encode()),
        entry_point=image.entry - image.base,
        stages=(Stage(main_of(program), LATE),),
        flags=flags,
    )


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("way", ["", "signal", "late-signal"])
def test_a_program_passes_its_boundary(face: Face, build: Build, how: str, way: str) -> None:
    outcome = face.launch(encode(staged_plan(build(how), way)))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (0, "early\nmain\nend\n", ())
    assert outcome.events == ()


@pytest.mark.parametrize("how", BUILDS)
@pytest.mark.parametrize("way", ["late", "late-fork"])
def test_what_only_the_start_may_call_is_refused_behind_it(
    face: Face, build: Build, how: str, way: str
) -> None:
    outcome = face.launch(encode(staged_plan(build(how), way)))
    assert (outcome.exit_code, outcome.output) == (159, "early\nmain\n")
    assert [(event["syscall"], event["stage"]) for event in outcome.events] == [(GETPPID, 1)]


@pytest.mark.parametrize("how", ["glibc", "dynamic"])
def test_threads_from_before_are_under_the_new_filter(face: Face, build: Build, how: str) -> None:
    outcome = face.launch(encode(staged_plan(build(how), "thread")))
    assert outcome.exit_code == 159
    assert {(event["syscall"], event["stage"]) for event in outcome.events} == {(GETPPID, 1)}


@pytest.mark.parametrize("how", ["glibc", "dynamic"])
def test_threads_that_are_born_at_the_boundary(face: Face, build: Build, how: str) -> None:
    for _ in range(5):
        outcome = face.launch(encode(staged_plan(build(how), "storm")))
        assert (outcome.exit_code, outcome.output, outcome.errors) == (0, "early\nmain\nend\n", ())


@pytest.mark.parametrize("how", BUILDS)
def test_a_call_that_is_refused_from_the_start(face: Face, build: Build, how: str) -> None:
    """Nobody listens before the boundary: the launcher, who traces, reports it."""
    outcome = face.launch(encode(staged_plan(build(how), "refused")))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (159, "early\n", ())
    assert [(event["syscall"], event["stage"]) for event in outcome.events] == [(GETTID, 0)]


def test_a_refused_call_that_fails_before_the_boundary(face: Face, build: Build) -> None:
    outcome = face.launch(encode(staged_plan(build("glibc"), "refused", flags=PlanFlag.ERRNO)))
    assert (outcome.exit_code, outcome.output) == (0, "early\nEPERM\nmain\nend\n")
    assert [(event["syscall"], event["stage"]) for event in outcome.events] == [(GETTID, 0)]


def test_a_refused_call_that_is_audited_before_the_boundary(face: Face, build: Build) -> None:
    flags = PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED
    outcome = face.launch(encode(staged_plan(build("glibc"), "refused", flags=flags)))
    assert (outcome.exit_code, outcome.output) == (0, "early\nmain\nend\n")
    assert [(event["syscall"], event["stage"]) for event in outcome.events] == [(GETTID, 0)]


def test_an_exec_that_is_audited_before_the_boundary(face: Face, build: Build) -> None:
    """The boundaries are gone with the program that had them, and that is said."""
    flags = PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED
    outcome = face.launch(encode(staged_plan(build("glibc"), "exec", flags=flags)))
    assert (outcome.exit_code, outcome.output) == (0, "early\nexecuted\n")
    assert [event["syscall"] for event in outcome.events] == [EXEC[0]]
    if face.name == "shim-launch":
        assert outcome.errors == ("shim: stage: it executed another program, and kept the filter it had",)


@pytest.mark.parametrize("how", ["glibc", "dynamic"])
def test_a_process_from_before_stays_as_it_is(face: Face, build: Build, how: str) -> None:
    """It keeps the first filter, and what that refuses fails with ENOSYS, without an event."""
    outcome = face.launch(encode(staged_plan(build(how), "fork")))
    assert (outcome.exit_code, outcome.output) == (0, "early\nchild\nmain\nend\n")
    assert outcome.events == ()


def test_a_program_that_never_gets_there(face: Face, build: Build) -> None:
    outcome = face.launch(encode(staged_plan(build("glibc"), "exit")))
    assert (outcome.exit_code, outcome.output) == (7, "early\n")


def test_a_boundary_in_the_middle_of_nowhere(face: Face, build: Build) -> None:
    plan = staged_plan(build("glibc"), "late")
    outcome = face.launch(encode(replace(plan, stages=(Stage(0x10, LATE),))))
    assert (outcome.exit_code, outcome.output) == (0, "early\nmain\nend\n")


def test_more_than_one_boundary(face: Face, build: Build) -> None:
    program = build("dynamic")
    plan = staged_plan(program, "late")
    assert plan.entry_point is not None
    stages = (Stage(plan.entry_point, EARLY), *plan.stages)
    outcome = face.launch(encode(replace(plan, stages=stages)))
    assert (outcome.exit_code, outcome.output) == (159, "early\nmain\n")
    assert [(event["syscall"], event["stage"]) for event in outcome.events] == [(GETPPID, 2)]


def test_the_launcher_dies_before_the_boundary(launcher: Face, build: Build) -> None:
    process = launcher.start(encode(staged_plan(build("dynamic"), "sleep")))
    assert process.stdout is not None
    assert process.stdout.readline() == "early\n"
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    process.kill()
    process.wait(timeout=10)
    end = time.monotonic() + 5
    while is_running(int(program)) and time.monotonic() < end:
        time.sleep(0.005)
    assert not is_running(int(program))


PARTS = ("hold-thread", "measure-objects", "seal-objects", "tighten-filter", "let-threads-go")


@pytest.mark.parametrize("part", PARTS)
def test_the_launcher_dies_at_the_boundary(
    native_build: Callable[[str], Path], linked: Path, tmp_path: Path, part: str
) -> None:
    launcher = native_build("faults") / "shim-launch-faults"
    face = Face("faults", (str(launcher), "die", part), tmp_path)
    process = face.start(encode(measured_plan(linked, f"mark-{part}-{os.getpid()}")))
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (-9, "", "")
    assert wait_until_gone(f"mark-{part}-{os.getpid()}") == []


@pytest.mark.parametrize("part", PARTS)
def test_a_stop_at_the_boundary_is_kept(
    native_build: Callable[[str], Path], linked: Path, tmp_path: Path, part: str
) -> None:
    """Somebody stops the program while it is held there: it stops when it is let go, and runs on then."""
    launcher = native_build("faults") / "shim-launch-faults"
    face = Face("faults", (str(launcher), "stop", part), tmp_path)
    process = face.start(encode(measured_plan(linked)))
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(program), signal.SIGCONT)
    os.kill(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "42\n", "")


def test_signals_reach_a_traced_program(launcher: Face, build: Build) -> None:
    process = launcher.start(encode(staged_plan(build("glibc"), "sleep")))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM


def test_stopping_a_traced_program_stops_its_launcher(launcher: Face, build: Build) -> None:
    process = launcher.start(encode(staged_plan(build("glibc"), "sleep")))
    assert process.stdout is not None
    process.stdout.readline()
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(program), signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(process.pid, signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM


BAD_FILTERS = {
    "a listener too early": (by_number(dict.fromkeys(EXEC, NOTIFY), ALLOW), "no notification"),
    "exec": (by_number({PTRACE: TRACE}, ALLOW), "a refusal: it answers execve"),
    "ptrace": (by_number(dict.fromkeys(EXEC, TRACE), ALLOW), "a refusal: it answers ptrace"),
}


@pytest.mark.parametrize("name", BAD_FILTERS)
def test_a_first_filter_that_promises_too_little(face: Face, build: Build, name: str) -> None:
    rules, words = BAD_FILTERS[name]
    outcome = face.launch(encode(replace(staged_plan(build("glibc"), ""), filter=rules)))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors[0].startswith("shim: prove-filter: ")
    assert f"want {words}" in outcome.errors[0]


def test_a_last_filter_that_promises_too_little(face: Face, build: Build) -> None:
    plan = staged_plan(build("glibc"), "")
    outcome = face.launch(encode(replace(plan, stages=(replace(plan.stages[0], filter=EARLY),))))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert "want a refusal: it answers execve" in outcome.errors[0]


# ------------------------------------------------------------------ what the loader maps


LIBRARY = "int answer(void) { return %s; }\n"
USER = '#include <stdio.h>\nint answer(void);\nint main(void) { printf("%d\\n", answer()); return 0; }\n'


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A program with a library of its own beside it."""
    make_library(tmp_path, "42")
    command = ["gcc", "-O1", "-x", "c", "-", "-o", str(tmp_path / "user"), f"-L{tmp_path}", "-lanswer"]
    subprocess.run([*command, f"-Wl,-rpath,{tmp_path}"], input=USER, text=True, check=True)
    return tmp_path / "user"


def make_library(folder: Path, answer: str) -> None:
    target = folder / "libanswer.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target) + ".new"]
    subprocess.run(command, input=LIBRARY % answer, text=True, check=True)
    Path(str(target) + ".new").rename(target)


def measured_plan(program: Path, *arguments: str) -> LaunchPlan:
    data = program.read_bytes()
    profile = derive(data, str(program), files=RootedFiles("/"))
    layout = layout_of(profile, parse_elf(data, str(program)), RootedFiles("/").read)
    return compose(profile, str(program), (str(program), *arguments), {}, layout=layout)


def test_every_library_is_measured_and_pinned(face: Face, linked: Path) -> None:
    plan = measured_plan(linked)
    assert len(plan.objects) == 3
    assert plan.stages[0].boundary == plan.entry_point
    assert plan.stages[0].relocations
    outcome = face.launch(encode(plan))
    assert (outcome.exit_code, outcome.output, outcome.errors, outcome.events) == (0, "42\n", (), ())


def test_another_library_is_refused(face: Face, linked: Path) -> None:
    plan = encode(measured_plan(linked))
    make_library(linked.parent, "43")
    outcome = face.launch(plan)
    assert (outcome.exit_code, outcome.output) == (125, "")
    library = str(linked.parent / "libanswer.so")
    assert outcome.errors == (
        f"shim: measure-objects: '{library[:40]}': mapped, and its digest is not in the plan",
    )


def test_a_library_that_is_not_there_any_more(face: Face, linked: Path) -> None:
    """The loader itself ends the program: no boundary is reached, and nothing of it has run."""
    plan = encode(measured_plan(linked))
    (linked.parent / "libanswer.so").unlink()
    outcome = face.launch(plan)
    assert outcome.exit_code == 127
    assert "libanswer.so" in outcome.errors[0]


def test_an_object_that_is_not_mapped(face: Face, linked: Path) -> None:
    plan = measured_plan(linked)
    objects = (*plan.objects, replace(plan.objects[0], digest=bytes(32)))
    outcome = face.launch(encode(replace(plan, objects=objects)))
    assert outcome.errors == ("shim: measure-objects: an object of the plan is not mapped",)
    assert (outcome.exit_code, outcome.output) == (125, "")


def test_an_object_that_nobody_planned(face: Face, linked: Path) -> None:
    plan = measured_plan(linked)
    stage = replace(plan.stages[0], filter=LATE, relocations=())
    outcome = face.launch(encode(replace(plan, objects=plan.objects[1:], object_seals=(), stages=(stage,))))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert "mapped, and its digest is not in the plan" in outcome.errors[0]


def test_many_starts_of_a_pinned_dynamic_program(launcher: Face, linked: Path) -> None:
    plan = encode(measured_plan(linked))
    assert {launcher.launch(plan).output for _ in range(50)} == {"42\n"}


def test_a_program_that_executes_others_has_its_libraries_measured(face: Face, tmp_path: Path) -> None:
    """Only the boundary of its loader is left to it, and before that it executes nothing."""
    make_library(tmp_path, "42")
    source = USER.replace(
        "int main(void) {", 'int main(void) { if (getppid() == 1) execl("/bin/true", "x", (char *)0);'
    )
    command = ["gcc", "-O1", "-include", "unistd.h", "-x", "c", "-", "-o", str(tmp_path / "user")]
    command += [f"-L{tmp_path}", "-lanswer", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run(command, input=source, text=True, check=True)
    plan = measured_plan(tmp_path / "user")
    assert plan.flags & PlanFlag.EXEC_ALLOWED
    assert [stage.boundary for stage in plan.stages] == [plan.entry_point]
    assert not plan.stages[0].relocations
    outcome = face.launch(encode(plan))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (0, "42\n", ())
    make_library(tmp_path, "43")
    assert "mapped, and its digest is not in the plan" in face.launch(encode(plan)).errors[0]


def test_shim_run_says_what_to_do_about_another_library(linked: Path) -> None:
    shim = str(ROOT / ".venv" / "bin" / "shim")
    profile = linked.parent / "profile.json"
    subprocess.run([shim, "profile", str(linked), "--format", "json", "-o", str(profile)], check=True)
    command = [shim, "run", "--tee", "simulated", "--profile", str(profile)]
    done = subprocess.run([*command, str(linked)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "42\n")
    make_library(linked.parent, "43")
    done = subprocess.run([*command, str(linked)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "--no-phases launches without measuring shared objects" in done.stderr
    assert "mapped, and its digest is not in the plan" in done.stderr
    done = subprocess.run([*command, "--no-phases", str(linked)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "43\n")
