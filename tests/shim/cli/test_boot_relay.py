"""
The host's side of a boot: a relying party on one end of its sockets, a guest in C on the other.

QEMU has a stand-in (tests/fakes/qemu.py); machines that boot are in tests/shim/cli/test_boot_machine.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from attestation.channel import messages
from attestation.channel.errors import NonceError, RecordError, SilenceError, TruncatedError
from attestation.channel.frames import Frame, FrameReader, MessageType, encode
from attestation.channel.messages import Event, Exit, Output, Record
from attestation.channel.releases import MemoryReleases
from attestation.channel.session import Patience, Session
from attestation.channel.simulated_tee import SimulatedTee
from attestation.errors import AppraisalError
from attestation.verdict import Verdict
from images.boot.errors import QemuError
from shim.cli.boot_console import Console
from shim.cli.boot_image import BootImage
from shim.cli.boot_machine import lines
from shim.cli.boot_party import Embedded, Party, RelayError, Remote, TeePort
from shim.cli.boot_run import Ended, Setting, run
from shim.cli.boot_wires import MOST_WAITING, Wire, Wires
from tests.fakes import qemu
from tests.fakes.channel import NOW, PLAN, SECRET, SIGNING_KEY, session
from tests.fakes.qemu import Guest
from tests.native.conftest import guest_build, native_build  # noqa: F401  # fixtures
from tests.native.simulating import ends, reports, says

EVENT = b'{"event":"violation"}'
STORY = says(1, b"hello\n") + says(2, b"warning\n") + reports(EVENT) + ends(7, b"main: done")
TOLD = [Output(1, b"hello\n"), Output(2, b"warning\n"), Event(EVENT.decode()), Exit(7, "main: done")]
IMAGE = BootImage("image", "initramfs", b"kernel", b"initramfs", "quiet", b"", b"")


@pytest.fixture(scope="module")
def simulator(guest_build: Callable[[str], Path]) -> str:  # noqa: F811
    return str(guest_build("guest") / "guest-simulator")


@pytest.fixture
def guest(simulator: str, tmp_path: Path) -> Guest:
    return Guest(
        simulator=simulator,
        plan=PLAN.hex(),
        key=SIGNING_KEY.public_key().public_bytes_raw().hex(),
        commands=STORY.hex(),
        secret=str(tmp_path / "secret"),
    )


class Booted:
    """One run of the host's side: what became of the machine and of the conversation."""

    def __init__(
        self,
        folder: Path,
        guest: Guest,
        party: Party | None = None,
        *,
        conversation: Session | None = None,
        tee: SimulatedTee | None = None,
        timeout: float | None = 30,
        life_seconds: float | None = None,
        base: tuple[str, ...] = (),
        started: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.records: list[Record] = []
        self.shown: list[tuple[bytes, bool]] = []
        self.session = conversation or session()
        self.party = party or Embedded(self.session, lambda: NOW, self.records.append)
        self.console = Console(lambda text, ours: self.shown.append((text, ours)), None)
        setting = Setting(
            program=str(qemu.write(folder / "qemu", guest)),
            image=IMAGE,
            base=base,
            port="shim.channel",
            has_tee_port=True,
            timeout=timeout,
        )
        began = time.monotonic()
        self.ended: Ended = run(
            setting,
            self.console,
            self.party,
            TeePort(tee or SimulatedTee()),
            monotonic=time.monotonic,
            life_seconds=life_seconds,
            started=started,
        )
        self.seconds = time.monotonic() - began

    @property
    def failure(self) -> object:
        return self.party.failure


def test_a_good_guest_gets_the_secret_and_tells_its_story(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, guest)
    assert (done.failure, done.records) == (None, TOLD)
    assert (tmp_path / "secret").read_bytes() == SECRET
    assert (done.ended.qemu_status, done.ended.was_alive, done.ended.timed_out) == (0, True, False)
    assert (done.console.exit_code, done.shown) == (0, [])


def test_another_measurement_is_refused_and_the_guest_says_so(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, guest, tee=SimulatedTee(b"m" * 48))
    assert isinstance(done.failure, AppraisalError)
    (mismatch,) = done.failure.mismatches
    assert (mismatch.field, mismatch.found[:8]) == ("report.measurement", "6d6d6d6d")
    assert done.console.said_by_launcher() == ("shim: refusal: found 17, want a release",)
    assert (done.records, (tmp_path / "secret").read_bytes()) == ([], b"")


def test_a_host_that_may_debug_is_refused(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, guest, tee=SimulatedTee(guest_policy=0x30000 | 1 << 19))
    assert isinstance(done.failure, AppraisalError)
    assert [one.field for one in done.failure.mismatches] == ["guest_policy.debug"]
    assert (tmp_path / "secret").read_bytes() == b""


def test_a_nonce_that_was_answered_before_is_refused(tmp_path: Path, guest: Guest) -> None:
    releases = MemoryReleases(SECRET)
    for expected in (type(None), NonceError):
        conversation = session(releases=releases)
        conversation._randomness = bytes  # the same nonce each time
        done = Booted(tmp_path, guest, conversation=conversation)
        assert isinstance(done.failure, expected)
    assert done.console.said_by_launcher() == ("shim: refusal: found 15, want a release",)
    assert (tmp_path / "secret").read_bytes() == b""


@pytest.mark.parametrize("status", [0, 1])
def test_a_machine_that_ends_without_a_word(tmp_path: Path, guest: Guest, status: int) -> None:
    done = Booted(tmp_path, replace(guest, simulator="/bin/false", behaviour="silent end", status=status))
    assert isinstance(done.failure, TruncatedError)
    assert (done.console.exit_code, done.ended.qemu_status) == (None, status)


def test_a_guest_that_floods_is_ended_in_bounded_memory(
    tmp_path: Path, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shim.cli.boot_run._AFTER_FAILURE", 0.5)
    done = Booted(tmp_path, replace(guest, behaviour="floods"))
    assert "frame.magic" in str(done.failure)
    assert done.records == []
    assert not done.ended.timed_out


def test_a_guest_that_reads_no_answer_has_little_waiting_for_it(tmp_path: Path, guest: Guest) -> None:
    """It asked, was answered, and sleeps: what is kept for it is one frame, and its time runs."""
    conversation = session(patience=Patience())
    done = Booted(tmp_path, replace(guest, behaviour="reads nothing"), conversation=conversation, timeout=1)
    assert done.ended.timed_out


def test_a_machine_is_ended_when_its_time_is_up(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, replace(guest, behaviour="sleeps"), timeout=0.5)
    assert done.ended.timed_out
    assert done.ended.qemu_status == -signal.SIGKILL
    assert done.seconds < 10


def test_a_machine_that_says_nothing_under_kvm_is_given_up(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, replace(guest, kvm="hangs"), base=("-accel", "kvm"), life_seconds=0.5)
    assert (done.ended.was_alive, done.ended.timed_out) == (False, False)
    assert done.seconds < 10


def test_what_qemu_said_is_kept(tmp_path: Path, guest: Guest) -> None:
    done = Booted(tmp_path, replace(guest, kvm="fails"), base=("-accel", "kvm"))
    assert done.ended.qemu_errors == "qemu: failed to initialize kvm: Permission denied\n"
    assert (done.ended.qemu_status, done.ended.was_alive) == (1, False)


def test_a_qemu_that_is_not_there(tmp_path: Path) -> None:
    setting = Setting(program=str(tmp_path / "none"), image=IMAGE, base=())
    with pytest.raises(QemuError, match=r"No such file or directory, want QEMU: apt install qemu-system-x86"):
        run(setting, Console(None, None), None, None, monotonic=time.monotonic)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_machine_and_is_said(tmp_path: Path, guest: Guest, number: signal.Signals) -> None:
    def later(pid: int) -> None:
        assert os.path.exists(f"/proc/{pid}")  # noqa: PTH110
        threading.Timer(0.5, os.kill, (os.getpid(), number)).start()

    before = signal.getsignal(number)
    done = Booted(tmp_path, replace(guest, behaviour="sleeps"), started=later)
    assert done.ended.signal == number
    assert done.seconds < 10
    assert signal.getsignal(number) is before


ORPHAN = """
import sys, time
from pathlib import Path
from shim.cli.boot_console import Console
from shim.cli.boot_run import Setting, run
from tests.shim.cli.test_boot_relay import IMAGE
setting = Setting(program=sys.argv[1], image=IMAGE, base=())
pids = []
console = Console(lambda *_: print(pids[0], flush=True), None)
run(setting, console, None, None, monotonic=time.monotonic, started=pids.append)
"""


def test_no_machine_outlives_us(tmp_path: Path, guest: Guest) -> None:
    program = qemu.write(tmp_path / "qemu", replace(guest, behaviour="sleeps", console="up\n"))
    ours = subprocess.Popen([sys.executable, "-c", ORPHAN, str(program)], stdout=subprocess.PIPE, text=True)
    assert ours.stdout is not None
    pid = int(ours.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    ours.kill()
    ours.wait()
    ours.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the machine is still there")


# A host between the guest and a relying party elsewhere.


class Elsewhere:
    """A relying party behind a TCP port of the loopback, and what a host on the way does to frames."""

    def __init__(
        self,
        up: Callable[[Frame], list[bytes]] = lambda frame: [encode(frame)],
        down: Callable[[bytes], list[bytes]] = lambda data: [data],
        *,
        drops: int = 0,
        replies: int = 9,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.session = session()
        self.records: list[Record] = []
        self.failure: object = None
        self.seen = b""
        self._up, self._down, self._drops, self._replies = up, down, drops, replies
        self._listener = socket.create_server(address)
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for _ in range(self._drops):
            self._listener.accept()[0].close()
        connected, _ = self._listener.accept()
        connected.settimeout(20)
        reader = FrameReader()
        with connected:
            while self.session.exit is None and self.failure is None and self._replies:
                data = connected.recv(65536)
                if not data:
                    self._take(self.session.close(), connected)
                    return
                self.seen += data
                for frame in reader.feed(data):
                    for piece in self._up(frame):
                        self._take(self.session.receive(piece, NOW), connected)

    def _take(self, turn: object, connected: socket.socket) -> None:
        self.records += turn.records  # type: ignore[attr-defined]
        self.failure = self.failure or turn.failure  # type: ignore[attr-defined]
        if turn.reply:  # type: ignore[attr-defined]
            self._replies -= 1
            for piece in self._down(turn.reply):  # type: ignore[attr-defined]
                connected.sendall(piece)

    def close(self) -> None:
        """Nobody came back behind an answer: a guest answers one challenge."""
        self._thread.join(10)
        self._listener.setblocking(False)
        with self._listener, pytest.raises(BlockingIOError):
            self._listener.accept()


def remote(address: tuple[str, int], said: list[str] | None = None) -> Remote:
    return Remote(address, time.monotonic, (said if said is not None else []).append)


def test_bytes_go_to_a_relying_party_elsewhere_and_back_unread(tmp_path: Path, guest: Guest) -> None:
    there = Elsewhere()
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert (there.failure, there.records, done.failure) == (None, TOLD, None)
    assert (tmp_path / "secret").read_bytes() == SECRET
    for text in (SECRET, b"hello", b"warning", b"violation", b"main: done"):
        assert text not in there.seen


def test_a_relying_party_that_comes_later_is_waited_for(tmp_path: Path, guest: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    there: list[Elsewhere] = []
    later = threading.Timer(1.0, lambda: there.append(Elsewhere(address=address)))
    later.start()
    said: list[str] = []
    done = Booted(tmp_path, guest, remote(address, said))
    later.join()
    there[0].close()
    assert (there[0].failure, there[0].records, done.failure) == (None, TOLD, None)
    assert len(said) == 1
    assert "does not answer yet" in said[0]


def test_a_relying_party_that_went_away_before_its_answer_is_asked_again(
    tmp_path: Path, guest: Guest
) -> None:
    there = Elsewhere(drops=2)
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert (there.failure, there.records, done.failure) == (None, TOLD, None)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a machine behind a failure."""
    monkeypatch.setattr("shim.cli.boot_run._AFTER_FAILURE", 1.0)
    monkeypatch.setattr("shim.cli.boot_party.OFF_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
def test_a_relying_party_that_goes_away_behind_its_challenge_ends_the_boot(
    tmp_path: Path, guest: Guest
) -> None:
    """A guest answers one challenge."""
    there = Elsewhere(replies=1)
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert isinstance(done.failure, RelayError)
    assert "found the end of the connection, want it there until the machine is off" in str(done.failure)
    assert not done.ended.timed_out
    assert there.records == []


@pytest.mark.usefixtures("impatient")
def test_a_relying_party_that_goes_away_behind_its_release_gets_nothing_more(
    tmp_path: Path, guest: Guest
) -> None:
    """A machine that is off soon after may have ended in order: its last word is sealed."""
    there = Elsewhere(replies=2)
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert done.failure is None or isinstance(done.failure, RelayError)
    assert (there.records, done.ended.timed_out) == ([], False)


def test_a_relying_party_that_never_comes_is_given_up(
    tmp_path: Path, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shim.cli.boot_party.CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    done = Booted(tmp_path, guest, remote(address), timeout=20)
    assert isinstance(done.failure, RelayError)
    assert "found nobody who answers, want a relying party: shim serve --channel" in str(done.failure)
    assert (tmp_path / "secret").read_bytes() == b""


def changed(kind: MessageType, at: int) -> Callable[[Frame], list[bytes]]:
    def up(frame: Frame) -> list[bytes]:
        body = bytearray(frame.body)
        if frame.type is kind:
            body[at] ^= 1
        return [encode(Frame(frame.type, bytes(body)))]

    return up


@pytest.mark.parametrize("at", [0, 40, 76 + 0x90, -1])
def test_evidence_that_was_changed_on_its_way_is_refused(tmp_path: Path, guest: Guest, at: int) -> None:
    there = Elsewhere(changed(MessageType.EVIDENCE, at))
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert there.failure is not None
    assert (tmp_path / "secret").read_bytes() == b""
    assert done.console.said_by_launcher()[0].startswith(("shim: refusal: ", "shim: release.signature: "))


def test_a_host_that_changes_a_release_gives_the_guest_nothing(tmp_path: Path, guest: Guest) -> None:
    def down(reply: bytes) -> list[bytes]:
        return [reply[:-1] + bytes([reply[-1] ^ 1]) if reply[5] == MessageType.RELEASE else reply]

    there = Elsewhere(down=down)
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert (tmp_path / "secret").read_bytes() == b""
    assert any("release.signature" in line for line in done.console.said_by_launcher())
    assert isinstance(there.failure, TruncatedError)


def test_a_host_that_delays_and_cuts_changes_nothing(tmp_path: Path, guest: Guest) -> None:
    def down(reply: bytes) -> list[bytes]:
        time.sleep(0.3)
        return [reply[at : at + 7] for at in range(0, len(reply), 7)]

    there = Elsewhere(down=down)
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert (there.failure, there.records, done.failure) == (None, TOLD, None)


def test_a_host_that_truncates_is_noticed_by_both(tmp_path: Path, guest: Guest) -> None:
    there = Elsewhere(down=lambda reply: [reply[:20]])
    done = Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert (tmp_path / "secret").read_bytes() == b""
    assert any("silence" in line for line in done.console.said_by_launcher())
    assert isinstance(there.failure, TruncatedError)


@pytest.mark.parametrize("left_out", [MessageType.OUTPUT, MessageType.EVENT])
def test_records_that_are_left_out_are_noticed(tmp_path: Path, guest: Guest, left_out: MessageType) -> None:
    there = Elsewhere(lambda frame: [] if frame.type is left_out else [encode(frame)])
    Booted(tmp_path, guest, remote(there.address))
    there.close()
    assert isinstance(there.failure, RecordError)


# Wires.


def test_a_wire_reads_nothing_while_its_goal_takes_nothing() -> None:
    wires = Wires()
    with lines(2) as pairs:
        (near, near_end), (far, far_end) = pairs
        source, goal = socket.socket(fileno=near_end), socket.socket(fileno=far_end)
        into = wires.add(Wire(far, lambda _: None))
        wires.add(Wire(near, into.send, leads_to=into))
        source.setblocking(False)
        sent = 0
        for _ in range(1000):
            try:
                sent += source.send(bytes(65536))
            except BlockingIOError:
                if not wires.step(0):
                    break
        assert len(into._waiting) <= MOST_WAITING
        with pytest.raises(BlockingIOError):
            source.send(bytes(65536))
        goal.setblocking(False)
        got = 0
        while got < sent:
            try:
                got += len(goal.recv(65536))
            except BlockingIOError:
                assert wires.step(5)
        assert got == sent
        source.close()
        goal.close()


def test_too_much_for_who_reads_nothing_is_an_error() -> None:
    with lines(1) as [(near, end)]:
        theirs = socket.socket(fileno=end)
        wire = Wire(near, lambda _: None)
        pieces = iter(lambda: wire.send(bytes(65536)), 1)
        with pytest.raises(BufferError):
            list(pieces)
        theirs.close()


def test_silence_behind_a_challenge_is_refused() -> None:
    conversation = session()
    times = [NOW]
    party = Embedded(conversation, lambda: times[0], lambda _: None)
    with lines(1) as [(near, end)]:
        theirs = socket.socket(fileno=end)
        party.attach(Wire(near, party.receive), Wires())
        party.receive(encode(Frame(MessageType.REQUEST, b"")))
        assert 0 < party.tick() <= 120
        times[0] = NOW.replace(hour=1)
        party.tick()
        assert isinstance(party.failure, SilenceError)
        got = theirs.recv(1000)
        assert got.endswith(encode(messages.refusal(Verdict.WRONG_BINDING.exit_code)))
        theirs.close()
