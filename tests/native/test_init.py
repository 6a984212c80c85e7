"""The launcher as the first process of a machine, booted by a real kernel, and as that of a container."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.guest import kernel, power_on
from tests.native.launching import ROOT, Face, plan_for

Probe = Callable[[str], Path]
Boot = Callable[..., list[str]]
Change = Callable[[dict[bytes, bytes]], Mapping[bytes, bytes]]

SHIM = (sys.executable, "-c", "from shim.cli.main import main; main()")
WORDS = "panic=-1 mitigations=off rdinit=/shim/launch"
HEADER, SIZE, NAME_SIZE = 110, slice(54, 62), slice(94, 102)
PLAN_VERSION = 120 + 8  # behind the header and the name of its member
# Of the kernel that happens to boot, and not of the launch.
_KERNELS = ("shim: mseal: ", "shim: mdwe: ", "shim: landlock: ")


@pytest.fixture
def boot(tmp_path: Path, probe: Probe) -> Boot:
    """Build an image of the probe, change its files, and boot it: what the console says from the launcher on."""
    kernel()

    def booted(*arguments: str, words: str = "", change: Change = dict) -> list[str]:
        initramfs = tmp_path / "initramfs"
        options = ("--format", "initramfs", "--compress", "none", "--as", "/program", "--env", "A=1")
        where = ("--directory", "/sys", "--allow-incomplete", "-o", str(initramfs))
        starter = ("--include", f"{probe('start_without_streams')}:/starter")
        command = [*SHIM, "build", *options, *starter, *where, str(probe("first_program")), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        members = dict(_members(initramfs.read_bytes()))
        initramfs.write_bytes(b"".join(change(members).values()))
        lines = power_on(initramfs, f"{WORDS} {words}")
        assert "reboot: Power down" in lines[-1], lines
        return _launchers(lines)

    return booted


def _members(archive: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each member of an archive in the format newc by its name, with all its bytes."""
    at = 0
    while archive[at : at + 6] == b"070701":
        header = archive[at : at + HEADER]
        name_end = at + HEADER + int(header[NAME_SIZE], 16)
        end = _aligned(_aligned(name_end) + int(header[SIZE], 16))
        yield archive[at + HEADER : name_end - 1], archive[at:end]
        at = end


def _aligned(offset: int) -> int:
    return offset + -offset % 4


def _launchers(lines: list[str]) -> list[str]:
    """Return the lines that are not the kernel's."""
    return [line for line in lines if line and not line.startswith((*_KERNELS, "["))]


def _without(name: bytes) -> Change:
    return lambda members: {key: member for key, member in members.items() if key != name}


def _flipped(name: bytes, offset: int) -> Change:
    """One bit of a member is another."""

    def change(members: dict[bytes, bytes]) -> Mapping[bytes, bytes]:
        member = bytearray(members[name])
        member[offset] ^= 1
        return {**members, name: bytes(member)}

    return change


def test_a_machine_runs_the_images_program_and_nothing_of_its_command_line(boot: Boot) -> None:
    """Streams, file systems and the loopback are there, orphans are reaped, and its status is said."""
    lines = boot("first", words="/shim/other A=2 LD_PRELOAD=/x.so B=3 -- more")
    mounted = [line.split(",relatime")[0] for line in lines if line.startswith("mounted ")]
    assert [line for line in lines if not line.startswith("mounted ")] == [
        "program begins",
        "argument first",
        "variable A=1",
        "open 0",
        "open 1",
        "open 2",
        "orphans left 0",
        "loopback served",
        "program ends",
        "shim: exit code 7",
    ]
    assert mounted[1:] == [
        "mounted devtmpfs /dev rw,nosuid",
        "mounted proc /proc rw,nosuid,nodev,noexec",
        "mounted sysfs /sys rw,nosuid,nodev,noexec",
    ]


def test_a_refused_call_is_reported_and_the_machine_goes_off(boot: Boot) -> None:
    begins, event, *end = boot("refused", "169")
    assert begins == "program begins"
    assert (json.loads(event)["event"], json.loads(event)["syscall"]) == ("violation", 169)
    assert end == ["shim: exit code 159: a refused call ended the program"]


def test_a_machine_without_standard_streams_gets_the_console(boot: Boot) -> None:
    """And a signal is no exit code of the program's own."""
    lines = boot("signal", words="rdinit=/starter")
    assert lines == ["program begins", "shim: exit code 134: signal 6 ended the program"]


DAMAGED = {
    "damaged-plan": (_flipped(b"shim/plan", PLAN_VERSION), "shim: header.version: found 0, want 1", 125),
    "no-program": (_without(b"program"), "shim: exec: No such file or directory", 127),
    "changed-program": (_flipped(b"program", 4096), "shim: measure-file: ", 125),
    "no-proc": (_without(b"proc"), "shim: mount-proc: No such file or directory", 125),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_image_says_so_in_one_line_and_goes_off(boot: Boot, damage: str) -> None:
    """Words that name another plan, or a shell, change nothing."""
    change, reason, code = DAMAGED[damage]
    lines = boot("first", words="/program init=/bin/sh single", change=change)
    assert len(lines) == 2, lines
    assert lines[0].startswith(reason)
    assert lines[1] == f"shim: exit code {code}: the launch failed"


CONTAINER = ("unshare", "--mount", "--pid", "--fork")
NO_PROC = "umount -l /proc && exec "


def _contained(*command: str, prefix: tuple[str, ...] = ("--mount-proc",)) -> tuple[int, str, str]:
    done = subprocess.run([*CONTAINER, *prefix, *command], capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr and done.stderr.startswith("unshare:"):
        pytest.skip("no right to make a pid namespace")
    return done.returncode, done.stdout, done.stderr


def test_the_first_process_of_a_container_runs_the_plan_that_it_is_given(
    launcher: Face, probe: Probe
) -> None:
    plan = plan_for(probe("exit_with_status"), "7")
    assert _contained(*launcher.arguments(plan)) == (7, "ran\n", "")


def test_the_first_process_of_a_container_takes_no_other_plan(launcher: Face) -> None:
    code, output, errors = _contained(*launcher.command, "/nonexistent")
    assert (code, output, errors) == (125, "", "shim: read-plan: No such file or directory\n")
    code, output, errors = _contained(*launcher.command)
    assert (code, output, errors.startswith("shim: usage: ")) == (125, "", True)


def test_a_container_without_proc_is_no_machine(launcher: Face, probe: Probe) -> None:
    """It fails, mounts nothing, and asks for no power-off: that would end it by SIGINT."""
    plan = plan_for(probe("exit_with_status"), "7")
    command = NO_PROC + " ".join(launcher.arguments(plan))
    code, output, errors = _contained("sh", "-c", command, prefix=())
    assert (code, output) == (125, "")
    assert errors.startswith("shim: ")
    assert "exit code" not in errors
    command = NO_PROC + " ".join(launcher.command)
    code, output, errors = _contained("sh", "-c", command, prefix=())
    assert (code, output, errors.startswith("shim: usage: ")) == (125, "", True)
