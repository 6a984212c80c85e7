"""`shim-init` as the first process of a machine, with a relying party behind its host: real boots."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.channel.messages import Event, Exit, Output
from attestation.errors import AppraisalError
from images.command_line import command_line
from shim.launch.machine import EvidenceKind, Module
from shim.launch.plan_codec import decode, encode
from tests.fakes.channel import OTHER_MEASUREMENT, SECRET
from tests.guest import members
from tests.native.launching import LAUNCHER, Face, plan_for
from tests.native.machine import Machine, Seen

Probe = Callable[[str], Path]
FOUND = f"secret {SECRET.decode()}"
NO_RDRAND = "shim: randomness: this processor has no RDRAND: what keys are made of the host can watch"
WAITING = "shim: randomness: not enough yet; waiting for the kernel"
INIT = LAUNCHER.with_name("shim-init")
# What `shim build` gives a kernel, and what a busy host needs.
DEFAULT_WORDS = command_line("no_timer_check")
ENDED = "shim: power off; how the program ended is sealed"


@pytest.fixture
def machine(tmp_path: Path, probe: Probe) -> Machine:
    return Machine(tmp_path, probe("secret_program"))


def user_network(*more: str) -> tuple[str, ...]:
    """QEMU's own network; restricted, nothing is beyond, and its DHCP server names no gateway."""
    network = ",".join(("user,id=net", *more))
    return ("-netdev", network, "-device", "virtio-net-pci,netdev=net")


def resident(lines: list[str], name: str) -> int:
    """KiB of the first process."""
    (line,) = (line for line in lines if line.startswith(f"/proc/1/status {name}:"))
    return int(line.split()[2])


def is_hidden(seen: Seen) -> bool:
    """Neither the wire nor the console has the secret."""
    return SECRET not in seen.relayed and SECRET.decode() not in "\n".join(seen.console)


def test_a_program_gets_its_secret_and_what_it_says_is_sealed(machine: Machine) -> None:
    """Over a port of virtio-serial, with an address by DHCP."""
    machine.devices, machine.words = user_network(), DEFAULT_WORDS
    options = ("--secret", "env:SECRET_FD", "--network", "dhcp", "--hostname", "guest-1", "--pids", "50")
    seen = machine.boot(*options, "--cgroup", "/sys/fs/cgroup", arguments=("3", "machine"))
    assert seen.failure is None, seen.console
    lines = seen.output
    assert lines[:4] == [FOUND, "environment SECRET_FD=3", "sealed 1, written -1", "open 0 1 2 3"], seen
    assert [line.rstrip() for line in lines[4:] if "status" not in line] == [
        "hostname guest-1",
        "/proc/sys/kernel/modules_disabled 1",
        "/proc/sys/kernel/sysrq 0",
        "/proc/self/cgroup 0::/shim-1",
        "/etc/resolv.conf nameserver 10.0.2.3",
        "/proc/net/route eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0",
        "zombies 0",
    ]
    assert resident(lines, "VmRSS") < 400, lines
    assert Output(2, b"to standard error\n") in seen.records
    assert seen.records[-1] == Exit(7, "")
    assert seen.said == [ENDED]
    assert is_hidden(seen)


def test_a_program_gets_its_secret_in_a_file_over_tcp(machine: Machine) -> None:
    """With a fixed address, as another user, and with plain output that the console does not have."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        machine.tcp = server
        machine.devices = user_network(
            f"guestfwd=tcp:10.0.2.100:4711-tcp:127.0.0.1:{server.getsockname()[1]}"
        )
        seen = machine.boot(
            *("--secret", "file:/run/keys/secret", "--channel", "tcp:10.0.2.100:4711", "--plain-output"),
            *("--network", "10.0.2.15/24,gateway=10.0.2.2,dns=10.0.2.3,dns=10.0.2.4", "--uid", "1000"),
            arguments=("/run/keys/secret", "machine"),
            plain_output=True,
        )
    assert seen.failure is None, seen.console
    assert seen.output[:3] == [FOUND, "mode 400 of 1000, written never", "open 0 1 2 3"]
    assert "/etc/resolv.conf nameserver 10.0.2.3" in seen.output
    assert seen.records[-1] == Exit(7, "")
    assert seen.said == ["shim: exit code 7"]


def test_a_refused_call_ends_the_program_behind_what_it_had_said(machine: Machine) -> None:
    """The event is sealed like the rest, in its place; that the processor has no RDRAND is said."""
    machine.devices = ("-cpu", "max,rdrand=off")
    seen = machine.boot("--secret", "env:SECRET_FD", arguments=("3", "refused", "169"))
    assert seen.failure is None, seen.console
    *output, event, ended = seen.records
    assert all(isinstance(one, Output) for one in output)
    assert seen.output[0] == FOUND
    assert isinstance(event, Event)
    assert json.loads(event.text)["syscall"] == 169
    assert ended == Exit(159, "a refused call ended the program")
    assert [line for line in seen.said if line != WAITING] == [NO_RDRAND, ENDED]
    assert "violation" not in "\n".join(seen.console)


def flipped(initramfs: Path, name: bytes) -> Path:
    """One bit in the middle of a file of the image is another."""
    data = bytearray(initramfs.read_bytes())
    content = dict(members(bytes(data)))[name]
    data[data.index(content) + len(content) // 2] ^= 1
    initramfs.write_bytes(data)
    return initramfs


def off_without_running(seen: Seen, *reason: str) -> bool:
    """One line that says why, and the machine is off."""
    *said, last = seen.said
    ran = FOUND in "\n".join(seen.console) or seen.output
    return not ran and last == "shim: exit code 125: the launch failed" and said == list(reason)


def test_evidence_that_is_not_affirmed_runs_nothing(machine: Machine) -> None:
    seen = machine.boot("--secret", "env:SECRET_FD", policy=OTHER_MEASUREMENT)
    assert isinstance(seen.failure, AppraisalError)
    assert off_without_running(seen, "shim: refusal: found 17, want a release")
    assert is_hidden(seen)


def test_a_secret_of_somebody_else_runs_nothing(machine: Machine) -> None:
    """The plan, which is measured, says whose secrets the machine takes."""
    seen = machine.boot("--secret", "env:SECRET_FD", signing_key=Ed25519PrivateKey.generate())
    want = "the plan's relying party's, over this evidence and nonce"
    assert off_without_running(seen, f"shim: release.signature: found another's, want {want}")


def test_a_module_that_is_not_the_plans_is_not_loaded(machine: Machine) -> None:
    initramfs = flipped(machine.build("--secret", "env:SECRET_FD"), b"shim/modules/virtio_console.ko")
    want = "found 'virtio_console.ko': another digest, want the module of the plan"
    assert off_without_running(machine.run(initramfs), f"shim: load-modules: {want}")


def test_a_host_that_cuts_the_channel_ends_the_program(machine: Machine) -> None:
    """Nobody would hear what it says."""
    machine.cut_after = 200_000
    seen = machine.boot("--secret", "env:SECRET_FD", arguments=("3", "much"))
    assert len(seen.relayed) < 400_000
    assert seen.said[-2:] == ["shim: channel: found nobody at its other end, want an open channel", ENDED]
    assert is_hidden(seen)


def test_a_machine_without_its_tee_runs_nothing(machine: Machine) -> None:
    """Never is evidence of another kind taken instead."""
    machine.words = DEFAULT_WORDS
    initramfs = machine.build("--secret", "env:SECRET_FD", "--kernel-module", "configfs")
    plan = decode(dict(members(initramfs.read_bytes()))[b"shim/plan"])
    assert plan.channel is not None
    plan = replace(plan, channel=replace(plan.channel, evidence=EvidenceKind.TSM))
    machine.add(initramfs, "/shim/plan", encode(plan))
    seen = machine.run(initramfs)
    assert seen.said[-1] == "shim: exit code 125: the launch failed"
    assert seen.said[0].startswith("shim: collect-tsm: found no ")
    assert seen.said[0].endswith(" want a report of configfs-tsm")
    assert len(seen.said) == 2
    assert b"SHIM\x01\x20" not in seen.relayed  # nobody who plays a TEE was asked


@pytest.mark.parametrize("asks", [{"hostname": b"a"}, {"modules": (Module(b"/m.ko", bytes(32)),)}])
def test_no_other_launcher_takes_a_machines_plan(face: Face, probe: Probe, asks: dict[str, Any]) -> None:
    plan = replace(decode(plan_for(probe("exit_with_status"), "7")), **asks)
    outcome = face.launch(encode(plan))
    assert (outcome.exit_code, outcome.output) == (125, "")
    assert outcome.errors[0].startswith(
        "shim: require-machine: the plan is for the first process of a machine"
    )


def test_outside_of_a_machine_it_does_nothing() -> None:
    done = subprocess.run([INIT, "plan"], capture_output=True, text=True, check=False)
    want = "shim: usage: shim-init is the first process of a machine, and nothing else\n"
    assert (done.returncode, done.stdout, done.stderr) == (125, "", want)
