"""A machine in QEMU whose host relays between its ports, a relying party and who plays a TEE."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation.channel.conversation import converse
from attestation.channel.messages import Output, Record
from attestation.channel.session import Session
from attestation.channel.simulated_tee import SimulatedTee
from attestation.errors import AttestationError
from images.content import Content
from images.cpio import cpio_bytes
from images.tree import Entry, Reason, Tree
from tests.fakes.channel import SIGNING_KEY, terms
from tests.guest import SECONDS, kernel, machine_command, members
from tests.native.launching import ROOT

SHIM = (sys.executable, "-c", "from shim.cli.main import main; main()")
# A busy host is late with the interrupts by which a kernel tries its timers; under KVM it does not try.
WORDS = "console=ttyS0 quiet no_timer_check panic=-1 mitigations=off rdinit=/shim/launch"
# Of the kernel that happens to boot, and not of the launch.
KERNELS = ("shim: mseal: ", "shim: mdwe: ", "shim: landlock: ")
PORTS = ("shim.channel", "shim.tee")


@dataclass
class Seen:
    """What is left of one boot: on the console, on the wire, and at the relying party."""

    console: list[str] = field(default_factory=list)
    relayed: bytes = b""
    records: list[Record] = field(default_factory=list)
    failure: AttestationError | None = None

    @property
    def output(self) -> list[str]:
        """The lines of the program's standard output, as the relying party has them."""
        pieces = (one.data for one in self.records if isinstance(one, Output) and one.stream == 1)
        return b"".join(pieces).decode().splitlines()

    @property
    def said(self) -> list[str]:
        """The lines on the console that are the launcher's, without what it says of this kernel."""
        return [line for line in self.console if line.startswith("shim: ") and not line.startswith(KERNELS)]


class _Wire:
    """The host's end of a port, as a stream that keeps what went over it."""

    def __init__(self, connection: socket.socket, seen: Seen, machine: Machine) -> None:
        self._connection = connection
        self._seen = seen
        self._machine = machine

    def settimeout(self, seconds: float | None, /) -> None:
        self._connection.settimeout(seconds)

    def recv(self, size: int, /) -> bytes:
        data = self._connection.recv(size)
        self._seen.relayed += data
        return self._machine.up(data) if len(self._seen.relayed) < self._machine.cut_after else b""

    def sendall(self, data: bytes, /) -> None:
        self._seen.relayed += data
        self._connection.sendall(self._machine.down(data))


@dataclass
class Machine:
    """
    One image after the other.

    What its host changes of the relying party's messages is `down`, of the machine's `up`; with `tcp` it listens
    there, not at a port.
    """

    folder: Path
    program: Path
    down: Callable[[bytes], bytes] = bytes
    up: Callable[[bytes], bytes] = bytes
    tee: SimulatedTee = field(default_factory=SimulatedTee)
    words: str = WORDS
    devices: tuple[str, ...] = ()
    tcp: socket.socket | None = None
    cut_after: int = 1 << 30

    def build(self, *options: str, arguments: tuple[str, ...] = (), key: bytes | None = None) -> Path:
        """Build the image of the program, and return its initramfs."""
        pem = self.folder / "relying-party.pem"
        public = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        pem.write_bytes(key or public)
        target = self.folder / "initramfs"
        form = ("--format", "initramfs", "--compress", "none", "--kernel", str(kernel()), "-o", str(target))
        held = ("--relying-party-key", str(pem), "--as", "/program")
        if "--evidence" not in options:
            held += ("--evidence", "simulated")
        command = [
            *SHIM,
            "build",
            *form,
            *held,
            "--allow-incomplete",
            *options,
            str(self.program),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        return target

    def add(self, initramfs: Path, name: str, content: bytes) -> None:
        """Put another file in the place of one: of two of one name a kernel keeps the last."""
        entry = Entry.file(name.encode(), Content.of(content), Reason("test"), mode=0o755)
        with initramfs.open("ab") as archive:
            archive.write(cpio_bytes(Tree.of([entry]), 0))

    def boot(self, *options: str, arguments: tuple[str, ...] = (), **of_session: object) -> Seen:
        """Build an image with these options, boot it, and return what was seen until it was off."""
        return self.run(self.build(*options, arguments=arguments), **of_session)

    def run(
        self, initramfs: Path, randomness: Callable[[int], bytes] = os.urandom, **of_session: object
    ) -> Seen:
        """Boot an initramfs; `of_session` are other terms of the relying party."""
        plan = dict(members(initramfs.read_bytes()))[b"shim/plan"]
        digests = frozenset({hashlib.sha256(plan).digest()})
        seen = Seen()
        session = Session(terms(**{"plan_digests": digests, **of_session}), datetime.now(UTC), randomness)
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(listener(self.folder / name)) for name in PORTS]
            served = [stack.enter_context(self.tcp or contextlib.nullcontext(sockets[0])), sockets[1]]
            command = machine_command(initramfs, self.words)
            for number, name in enumerate(PORTS):
                place = f"socket,id=port{number},path={self.folder / name}"
                device = f"virtserialport,chardev=port{number},name={name}"
                command += ["-chardev", place, "-device", device]
            command[1:1] = ["-device", "virtio-serial-pci"]
            process = subprocess.Popen(
                [*command, *self.devices],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            hosts = [
                threading.Thread(target=work, args=(ours, session, seen), daemon=True)
                for work, ours in ((self._appraise, served[0]), (self._play, served[1]))
            ]
            for host in hosts:
                host.start()
            try:
                said, _ = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
                process.wait()
        for host in hosts:
            host.join(SECONDS)  # what the machine had sent is read to its end
        seen.console = [line.strip("\r") for line in said.decode(errors="replace").splitlines()]
        return seen

    def _appraise(self, ours: socket.socket, session: Session, seen: Seen) -> None:
        with contextlib.suppress(OSError):
            connection, _ = ours.accept()
            with connection:
                try:
                    wire = _Wire(connection, seen, self)
                    converse(wire, session, lambda: datetime.now(UTC), seen.records.append)
                except AttestationError as error:
                    seen.failure = error

    def _play(self, ours: socket.socket, _session: Session, seen: Seen) -> None:
        with contextlib.suppress(OSError):
            connection, _ = ours.accept()
            with connection:
                while data := connection.recv(65536):
                    reply = self.tee.receive(data)
                    seen.relayed += data + reply
                    connection.sendall(reply)


@contextlib.contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    """A socket of this name; a port whose host is gone is a port that nobody listens to."""
    with socket.socket(socket.AF_UNIX) as ours:
        path.unlink(missing_ok=True)
        ours.bind(str(path))
        ours.listen(1)
        yield ours
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)
