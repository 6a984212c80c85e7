"""What the program finds when it runs, and what its filter does to it from the first instruction on."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.launch.plan import PlanFlag, ResourceLimit
from tests.native.launching import (
    ALLOW,
    ARCH,
    CLOSE,
    ERRNO_PERM,
    EXEC,
    GETPPID,
    GUARD,
    IF_EQUAL,
    KILL,
    LOAD_NR,
    NOTIFY,
    RETURN,
    Face,
    Outcome,
    all_but,
    by_number,
    instruction,
    only,
    plan_for,
)

Probe = Callable[[str], Path]
CALLS = 20_000
EVENT_FIELDS = {"event", "time_ns", "pid", "syscall", "arch", "stage", "address", "arguments"}


@pytest.mark.parametrize(("how", "number"), [("execve", 59), ("execveat", 322), ("fexecve", 322)])
def test_every_exec_ends_in_an_event(face: Face, probe: Probe, how: str, number: int) -> None:
    outcome = face.launch(plan_for(probe("exec_by_call"), how))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (159, "", ())
    assert [event["syscall"] for event in outcome.events] == [number]


@pytest.mark.parametrize("how", ["execve", "execveat", "fexecve"])
def test_exec_that_the_plan_allows(launcher: Face, probe: Probe, how: str) -> None:
    plan = plan_for(probe("exec_by_call"), how, filter=all_but(()), flags=PlanFlag.EXEC_ALLOWED)
    outcome = launcher.launch(plan)
    assert (outcome.exit_code, outcome.output) == (0, "executed\n")


@pytest.mark.parametrize("name", ["call_at_once", "call_in_thread", "call_in_child"])
def test_refused_call_ends_the_program(face: Face, probe: Probe, name: str) -> None:
    before = time.time_ns()
    outcome = face.launch(plan_for(probe(name), filter=all_but((*EXEC, GETPPID))))
    assert (outcome.exit_code, outcome.output, outcome.errors) == (159, "", ())
    (event,) = outcome.events
    assert set(event) == EVENT_FIELDS
    assert (event["event"], event["syscall"], event["arch"]) == ("violation", GETPPID, ARCH)
    assert before <= event["time_ns"] <= time.time_ns()
    assert len(event["arguments"]) == 6
    assert int(event["address"], 16) > 0


@pytest.mark.parametrize("name", ["call_at_once", "call_in_thread", "call_in_child"])
def test_the_same_call_unrefused(launcher: Face, probe: Probe, name: str) -> None:
    outcome = launcher.launch(plan_for(probe(name)))
    assert (outcome.exit_code, outcome.output) == (0, "ran on\n")


@pytest.mark.parametrize("name", ["call_at_once", "call_in_thread"])
def test_kernel_kills_where_there_are_no_events(face: Face, probe: Probe, name: str) -> None:
    rules = all_but((*EXEC, GETPPID), KILL)
    outcome = face.launch(plan_for(probe(name), filter=rules, flags=PlanFlag.NO_EVENTS))
    assert (outcome.exit_code, outcome.output, outcome.errors, outcome.events) == (159, "", (), ())


def test_errno_is_the_programs_to_see(launcher: Face, probe: Probe) -> None:
    rules = all_but((*EXEC, GETPPID), ERRNO_PERM)
    assert launcher.launch(plan_for(probe("call_in_thread"), filter=rules)).output == "ran on\n"


ANSWERED = {"errno": PlanFlag.ERRNO, "audit": PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED}


@pytest.mark.parametrize("name", ["call_at_once", "call_in_thread", "call_in_child"])
@pytest.mark.parametrize("answer", ANSWERED)
def test_refused_call_is_answered_and_reported(face: Face, probe: Probe, name: str, answer: str) -> None:
    plan = plan_for(probe(name), filter=all_but((*EXEC, GETPPID)), flags=ANSWERED[answer])
    outcome = face.launch(plan)
    assert (outcome.exit_code, outcome.output, outcome.errors) == (0, "ran on\n", ())
    assert {(event["event"], event["syscall"]) for event in outcome.events} == {("violation", GETPPID)}


@pytest.mark.parametrize("answer", ANSWERED)
def test_what_an_answered_call_returns(face: Face, probe: Probe, answer: str) -> None:
    plan = plan_for(probe("many_calls"), filter=all_but((*EXEC, GETPPID)), flags=ANSWERED[answer])
    outcome = face.launch(plan)
    assert (outcome.exit_code, outcome.output) == (0, "EPERM\n" if answer == "errno" else "answered\n")
    assert len(outcome.events) == CALLS


def test_exec_that_is_only_audited(face: Face, probe: Probe) -> None:
    outcome = face.launch(plan_for(probe("exec_by_call"), "execve", flags=ANSWERED["audit"]))
    assert (outcome.exit_code, outcome.output) == (0, "executed\n")
    assert [event["syscall"] for event in outcome.events] == [59]


def test_exec_fails_where_refused_calls_do(face: Face, probe: Probe) -> None:
    outcome = face.launch(plan_for(probe("exec_by_call"), "execve", flags=PlanFlag.ERRNO))
    assert outcome.exit_code not in {0, 125, 159}
    assert [event["syscall"] for event in outcome.events] == [59]


def test_a_launcher_that_dies_answers_nothing(launcher: Face, probe: Probe) -> None:
    """Its death ends the program, in audit as in every other plan."""
    plan = plan_for(probe("run_on"), "audited", filter=all_but((*EXEC, GETPPID)), flags=ANSWERED["audit"])
    process = launcher.start(plan)
    assert process.stdout is not None
    process.stdout.readline()
    program = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    process.kill()
    process.wait(timeout=10)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{program}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{program}").exists()


def test_allow_list_without_close(face: Face, probe: Probe) -> None:
    """The launcher closes its listener in the program although the filter reports close."""
    rules = only((1, 60, 110, 231))
    outcome = face.launch(plan_for(probe("call_at_once"), filter=rules))
    assert (outcome.exit_code, outcome.output, outcome.events) == (0, "ran on\n", ())


def test_close_is_still_refused_to_the_program(launcher: Face, probe: Probe) -> None:
    rules = by_number(dict.fromkeys((*EXEC, CLOSE, 436), NOTIFY), 0x7FFF0000)
    outcome = launcher.launch(plan_for(probe("close_all"), filter=rules))
    assert (outcome.exit_code, [event["syscall"] for event in outcome.events]) == (159, [436])


def test_program_that_closes_everything(face: Face, probe: Probe) -> None:
    assert face.launch(plan_for(probe("close_all"))).exit_code == 9


def test_registers_and_stack_are_as_execve_left_them(face: Face, probe: Probe) -> None:
    """The program cannot see that it was held, and nothing of its filter stays on its stack."""
    assert face.launch(plan_for(probe("start_state"))).exit_code == 0


def facts(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in output.splitlines():
        name, _, value = line.replace(":\t", " ").partition(" ")
        found[name].append(value.strip())
    return found


def test_state_of_the_program(face: Face, probe: Probe, tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        plan = plan_for(probe("print_state"), environment=(b"ONLY=this",))
        outcome = face.launch(plan, pass_fds=(leaked,), restore_signals=False)
    finally:
        os.close(leaked)
    found = facts(outcome.output)
    assert outcome.exit_code == 0
    assert found["environment"] == ["ONLY=this"]
    assert found["file"] == ["0", "1", "2"]
    assert {found[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert {found[name][0] for name in ("SigBlk", "SigIgn", "SigPnd")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"], found["Seccomp_filters"]) == (["1"], ["2"], ["1"])
    assert found["TracerPid"] == ["0"]
    assert found["secure"] == ["0"]
    assert found["limit4"] in (["1 1"], ["0 0"])
    assert found["parent-death-signal"] == ["9"]
    assert found["session-leader"] == ["0"]
    assert found["cpus"] == [str(len(os.sched_getaffinity(0)))]
    if os.geteuid() == 0:
        assert int(found["securebits"][0]) & 0xEF == 0xEF


def raise_ambient_capability() -> None:
    """Give CAP_NET_BIND_SERVICE to every program that is executed from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    number, capset, pr_cap_ambient, raise_it = 10, 126, 47, 2
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.syscall(125, header, data)
    data[2] |= 1 << number
    if libc.syscall(capset, header, data) != 0 or libc.prctl(pr_cap_ambient, raise_it, number, 0, 0) != 0:
        os._exit(99)


def test_ambient_capabilities_are_taken_away(launcher: Face, probe: Probe) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: an ordinary user has no capability to make ambient")
    plain = subprocess.run(
        [probe("print_state")],
        preexec_fn=raise_ambient_capability,
        capture_output=True,
        text=True,
        check=True,
    )
    assert facts(plain.stdout)["CapAmb"] == ["0000000000000400"]
    outcome = launcher.launch(plan_for(probe("print_state")), preexec_fn=raise_ambient_capability)
    found = facts(outcome.output)
    assert {found[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}


def test_bounding_set_is_empty_where_exec_could_use_it(launcher: Face, probe: Probe) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: an ordinary user has no right to drop it, and nothing to drop")
    plan = plan_for(probe("print_state"), flags=PlanFlag.EXEC_ALLOWED)
    assert facts(launcher.launch(plan).output)["CapBnd"] == ["0" * 16]


def test_what_a_plan_may_ask_for(launcher: Face, probe: Probe) -> None:
    flags = PlanFlag.NEW_SESSION | PlanFlag.NO_EXEC_GAIN | PlanFlag.REQUIRE_NO_EXEC_GAIN
    limits = (ResourceLimit(1, 2**40, 2**41), ResourceLimit(7, 17, 19))
    found = facts(launcher.launch(plan_for(probe("print_state"), flags=flags, limits=limits)).output)
    assert found["session-leader"] == ["1"]
    assert found["mdwe"] == ["1"]
    assert found["limit1"] == [f"{2**40} {2**41}"]
    assert found["limit7"] == ["17 19"]


def without_mdwe() -> bytes:
    """A filter that makes this kernel one before 6.3: prctl(PR_SET_MDWE) is EINVAL."""
    prctl, option, set_mdwe, invalid = 157, 16, 65, 0x00050016
    return GUARD + b"".join(
        (
            instruction(IF_EQUAL, 0, 3, prctl),
            instruction(LOAD_NR, 0, 0, option),
            instruction(IF_EQUAL, 0, 1, set_mdwe),
            instruction(RETURN, 0, 0, invalid),
            instruction(RETURN, 0, 0, ALLOW),
        )
    )


def launch_without_mdwe(launcher: Face, program: Path, flags: PlanFlag) -> Outcome:
    inner = launcher.arguments(plan_for(program, flags=flags))
    outer_flags = PlanFlag.EXEC_ALLOWED | PlanFlag.NO_EVENTS
    return launcher.launch(plan_for(Path(inner[0]), *inner[1:], filter=without_mdwe(), flags=outer_flags))


def test_a_kernel_without_mdwe_is_reported(launcher: Face, probe: Probe) -> None:
    outcome = launch_without_mdwe(launcher, probe("print_state"), PlanFlag.NO_EXEC_GAIN)
    assert facts(outcome.output)["mdwe"] == ["0"]
    assert outcome.exit_code == 0
    (line,) = outcome.errors
    assert line.startswith("shim: mdwe: this kernel has none")


def test_a_kernel_without_required_mdwe_launches_nothing(launcher: Face, probe: Probe) -> None:
    flags = PlanFlag.NO_EXEC_GAIN | PlanFlag.REQUIRE_NO_EXEC_GAIN
    outcome = launch_without_mdwe(launcher, probe("print_state"), flags)
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors == ("shim: refuse-exec-gain: Invalid argument",)


def test_limit_that_cannot_be_raised(launcher: Face, probe: Probe) -> None:
    """Capabilities are gone when limits are set: a plan lowers, it does not raise."""
    limits = (ResourceLimit(7, 2**30, 2**30),)
    outcome = launcher.launch(plan_for(probe("print_state"), limits=limits))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors == ("shim: set-limits: Operation not permitted",)


def test_stop_and_continue_in_a_sleep(launcher: Face, probe: Probe) -> None:
    process = launcher.start(plan_for(probe("sleep_and_restart")))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (program,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(program), 19)
    time.sleep(0.1)
    os.kill(process.pid, 18)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_refused_under_an_outer_filter(launcher: Face, probe: Probe) -> None:
    """A launcher inside a launch has no ptrace left if the outer filter refuses it."""
    inner = launcher.arguments(plan_for(probe("exit_with_status"), "3"))
    rules = by_number({101: ERRNO_PERM}, 0x7FFF0000)
    outer = plan_for(Path(inner[0]), *inner[1:], filter=rules, flags=PlanFlag.EXEC_ALLOWED)
    outcome = launcher.launch(outer)
    assert (outcome.exit_code, outcome.output) == (125, "")
    (line,) = outcome.errors
    assert line.startswith(
        "shim: seize-child: ptrace is forbidden: by the seccomp filter of a container or of"
    )


def test_one_listener_per_chain(launcher: Face, probe: Probe) -> None:
    """Inside a launch with events a second listener is the kernel's to refuse, and the launch with it."""
    inner = launcher.arguments(plan_for(probe("exit_with_status"), "3"))
    outer = plan_for(Path(inner[0]), *inner[1:], filter=all_but(()), flags=PlanFlag.EXEC_ALLOWED)
    outcome = launcher.launch(outer)
    assert (outcome.exit_code, outcome.output) == (125, "")
    (line,) = outcome.errors
    assert line.startswith(
        "shim: install-filter: another listener exists: that of a container's runtime or of"
    )


def test_launch_inside_a_launch_without_events(launcher: Face, probe: Probe) -> None:
    inner = launcher.arguments(plan_for(probe("exit_with_status"), "3"))
    flags = PlanFlag.EXEC_ALLOWED | PlanFlag.NO_EVENTS
    outcome = launcher.launch(plan_for(Path(inner[0]), *inner[1:], filter=all_but(()), flags=flags))
    assert (outcome.exit_code, outcome.output) == (3, "ran\n")


@pytest.mark.parametrize("face_name", ["shim-launch"])
def test_descendant_outlives_but_stays_filtered(launcher: Face, probe: Probe, face_name: str) -> None:
    assert launcher.name == face_name
    read_end, write_end = os.pipe()
    try:
        process = launcher.start(plan_for(probe("fork_and_outlive")), stdin=read_end)
        assert process.stdout is not None
        descendant = int(process.stdout.readline())
        assert process.wait(timeout=10) == 3
        status = Path(f"/proc/{descendant}/status").read_text(encoding="ascii")
        assert "Seccomp:\t2" in status
    finally:
        os.close(write_end)
        os.close(read_end)
    process.communicate(timeout=10)
