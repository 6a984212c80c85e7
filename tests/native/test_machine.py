"""`shim-init` as the first process of a machine, with a relying party behind its host: real boots."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from attestation.channel.messages import Exit, Output
from tests.fakes.channel import SECRET
from tests.native.machine import Machine, Seen

Probe = Callable[[str], Path]
FOUND = f"secret {SECRET.decode()}"
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
    machine.devices = user_network()
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
