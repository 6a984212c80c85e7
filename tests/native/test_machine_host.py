"""A machine whose host, between it and its relying party, does what it likes: real boots."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from attestation.channel.errors import NonceError
from attestation.channel.frames import MessageType
from attestation.channel.messages import Exit
from attestation.channel.releases import MemoryReleases
from attestation.channel.session import Session
from attestation.channel.simulated_tee import SimulatedTee
from attestation.errors import AppraisalError
from tests.fakes.channel import SECRET, frame, guest, session, terms
from tests.native.machine import Machine, Seen

Probe = Callable[[str], Path]
OPTIONS = ("--secret", "env:SECRET_FD")
HEADER = 12


@pytest.fixture
def machine(tmp_path: Path, probe: Probe) -> Machine:
    return Machine(tmp_path, probe("secret_program"))


def off(seen: Seen) -> str:
    """The one line that says why a machine went off, in which nothing of the secret was ever seen."""
    said, last = seen.said
    assert last == "shim: exit code 125: the launch failed"
    assert SECRET not in seen.relayed
    assert SECRET.decode() not in "\n".join(seen.console)
    assert not seen.records
    return said


def test_evidence_that_is_changed_on_its_way_is_refused(machine: Machine) -> None:
    sent = bytearray()

    def up(data: bytes) -> bytes:
        """Change the key that the secret would be sealed to, which the report binds."""
        start = len(sent)
        sent.extend(data)
        whole = bytearray(data)
        place = sent.find(b"SHIM\1" + bytes([MessageType.EVIDENCE])) + HEADER
        if place >= HEADER and start <= place < len(sent):
            whole[place - start] ^= 1
        return bytes(whole)

    machine.up = up
    seen = machine.boot(*OPTIONS)
    assert isinstance(seen.failure, AppraisalError)
    assert [one.field for one in seen.failure.mismatches] == ["report.report_data"]
    assert off(seen).startswith("shim: refusal: found ")


def test_a_host_that_may_debug_is_refused(machine: Machine) -> None:
    machine.tee = SimulatedTee(guest_policy=0x30000 | 1 << 19)
    seen = machine.boot(*OPTIONS)
    assert isinstance(seen.failure, AppraisalError)
    assert [one.field for one in seen.failure.mismatches] == ["guest_policy.debug"]
    assert off(seen) == "shim: refusal: found 17, want a release"


def test_a_nonce_that_was_answered_before_releases_nothing(machine: Machine) -> None:
    releases = MemoryReleases(SECRET)
    now = datetime.now(UTC)
    before = Session(terms(releases=releases), now, bytes)
    before.receive(guest().answer(before.receive(frame(MessageType.REQUEST), now).reply), now)
    seen = machine.run(machine.build(*OPTIONS), randomness=bytes, releases=releases)
    assert isinstance(seen.failure, NonceError)
    assert off(seen) == "shim: refusal: found 15, want a release"


def test_the_release_of_another_machine_is_none(machine: Machine) -> None:
    """Of the same image, from the same relying party."""
    other, now = session(), datetime.now(UTC)
    asked = other.receive(frame(MessageType.REQUEST), now).reply
    release = other.receive(guest().answer(asked), now).reply
    machine.down = lambda data: release if data[5] == MessageType.RELEASE else data
    seen = machine.boot(*OPTIONS)
    want = "the plan's relying party's, over this evidence and nonce"
    assert off(seen) == f"shim: release.signature: found another's, want {want}"


def flooded(data: bytes) -> bytes:
    return data + frame(MessageType.CHALLENGE, bytes(32)) * 50_000


def hung_up(_data: bytes) -> bytes:
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("down", "said"),
    [
        (flooded, "shim: frame.type: found 2, want the message whose turn it is"),
        (hung_up, "shim: channel.end: found 0, want all bytes of a message"),
    ],
)
def test_a_host_that_floods_or_hangs_up_ends_it_at_once(
    machine: Machine, down: Callable[[bytes], bytes], said: str
) -> None:
    machine.down = down
    assert off(machine.boot(*OPTIONS)) == said


def test_a_host_that_is_slow_changes_nothing(machine: Machine) -> None:
    def slow(data: bytes) -> bytes:
        time.sleep(0.5)
        return data

    machine.down = machine.up = slow
    seen = machine.boot(*OPTIONS, arguments=("3", "machine"))
    assert seen.failure is None
    assert seen.output[0] == f"secret {SECRET.decode()}"
    assert seen.records[-1] == Exit(7, "")
