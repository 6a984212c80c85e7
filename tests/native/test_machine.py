"""`shim-init` as the first process of a machine, with a relying party behind its host: real boots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attestation.channel.messages import Exit, Output
from tests.fakes.channel import SECRET
from tests.native.machine import Machine

Probe = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path, probe: Probe) -> Machine:
    return Machine(tmp_path, probe("secret_program"))


def test_a_machine_shows_its_evidence_and_runs_the_program_with_the_secret(machine: Machine) -> None:
    """Output comes sealed; neither the host, nor the kernel's log, nor the environment has the secret."""
    seen = machine.boot("--secret", "env:SECRET_FD")
    assert seen.failure is None
    output = b"".join(one.data for one in seen.records if isinstance(one, Output) and one.stream == 1)
    assert output.splitlines() == [
        b"secret " + SECRET,
        b"environment SECRET_FD=3",
        b"seals 31" if b"seals 31" in output else b"seals 15",
        b"open 0 1 2 3",
    ]
    assert Output(2, b"to standard error\n") in seen.records
    assert seen.records[-1] == Exit(7, "")
    assert seen.console[-2] == "shim: power off; how the program ended is sealed"
    assert SECRET not in seen.relayed
    assert SECRET.decode() not in "\n".join(seen.console)
