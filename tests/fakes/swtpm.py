"""
A real TPM in software, swtpm, on loopback; and a paravisor of ours in front of it, as a VM of Azure has one.

Skips, with the reason, where swtpm is not installed.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from attestation.azure.collect import ATTESTATION_KEY, REPORT_INDEX, USER_DATA_INDEX
from attestation.tpm import collect, public_area, storage
from attestation.tpm.command import LARGEST, Tpm
from tests.fakes import azure
from tests.fakes.azure import Azure

OWNER = 0x40000001
PASSWORD = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
ECC_KEY = 0x81000004
PSS_KEY = 0x81000005
_NV_WRITE = 0x137
_START = 5.0


@dataclass
class Software:
    """One running swtpm; `port` and the next are its command and control channel."""

    port: int
    link: socket.socket

    def exchange(self, command: bytes) -> bytes:
        self.link.sendall(command)
        return self.link.recv(LARGEST)

    def tpm(self) -> Tpm:
        return Tpm(self.exchange, time.sleep)  # it tests itself when it is first asked to sign

    def tool(self, *arguments: str | Path, cwd: Path) -> str:
        """Run one of tpm2-tools against it, while nobody else is connected."""
        if shutil.which(str(arguments[0])) is None:
            pytest.skip(f"{arguments[0]} is not installed (tpm2-tools)")
        self.link.close()
        ran = subprocess.run(
            [str(argument) for argument in arguments],
            env={"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={self.port}", "PATH": "/usr/bin:/bin"},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        self.link = connected(self.port)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@contextlib.contextmanager
def running(state: Path) -> Iterator[Software]:
    """Start a TPM that has an attestation key where Azure has it, and two that are of no use."""
    with started(state) as software:
        key = struct.pack(">HHHHI", 0x0010, 0x0014, 0x000B, 2048, 0)
        persist(software, ATTESTATION_KEY, 0x0001, key)
        persist(software, PSS_KEY, 0x0001, key.replace(b"\0\x14", b"\0\x16", 1))
        persist(software, ECC_KEY, 0x0023, struct.pack(">HHHHH", 0x0010, 0x0018, 0x000B, 3, 0x0010))
        collect.quoted(software.tpm(), ATTESTATION_KEY, b"")
        yield software


@contextlib.contextmanager
def started(state: Path) -> Iterator[Software]:
    """Start a TPM with what its directory holds, and end it."""
    if shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed: apt install swtpm")
    port = free_port()
    process = subprocess.Popen(
        [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
            "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
            "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
            "--flags", "not-need-init,startup-clear",
        ]
    )  # fmt: skip
    software = None
    try:
        software = Software(port, connected(port))
        yield software
    finally:
        if software is not None:
            software.link.close()
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """Return a port of loopback that is free, as the next one is."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def connected(port: int) -> socket.socket:
    end = time.monotonic() + _START
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def persist(software: Software, handle: int, kind: int, parameters: bytes) -> None:
    """Make a restricted key for signing, and keep it: TPM2_CreatePrimary, TPM2_EvictControl."""
    unique = bytes(2) if kind == 0x0001 else bytes(4)
    public = struct.pack(">HHIH", kind, 0x000B, 0x00050072, 0) + parameters + unique
    sensitive = struct.pack(">HHH", 4, 0, 0)
    body = struct.pack(">I", OWNER) + PASSWORD + sensitive + struct.pack(">H", len(public)) + public
    made = sent(software, 0x131, body + bytes(2) + bytes(4))
    (transient,) = struct.unpack_from(">I", made)
    sent(software, 0x120, struct.pack(">II", OWNER, transient) + PASSWORD + struct.pack(">I", handle))
    sent(software, 0x165, struct.pack(">I", transient), tag=0x8001)


def sized(data: bytes) -> bytes:
    """Return a TPM2B."""
    return struct.pack(">H", len(data)) + data


def sent(software: Software, code: int, body: bytes, *, tag: int = 0x8002) -> bytes:
    response = software.exchange(struct.pack(">HII", tag, 10 + len(body), code) + body)
    (found,) = struct.unpack_from(">I", response, 6)
    assert found == 0, f"0x{code:x}: 0x{found:x}"
    return response[10:]


@dataclass
class Paravisor:
    """
    Makes a new report when the guest has written new data, `late` reads after that.

    `machine` is what it reports about; the vTPM's key and the data are put into it.
    """

    software: Software
    machine: Azure
    late: int = 0
    waiting: int = 0
    written: bytes = bytes(64)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = public_area.parse(collect.public_area(self.software.tpm(), ATTESTATION_KEY)).key
        assert isinstance(key, rsa.RSAPublicKey)
        self.key = key
        self.publish()

    def publish(self) -> None:
        report = self.reported().hcl()
        index = storage.find(self.software.tpm(), REPORT_INDEX)
        if index is not None and index.size != len(report):
            body = struct.pack(">II", OWNER, REPORT_INDEX) + PASSWORD
            sent(self.software, 0x122, body)
        self.written_in_parts(report)

    def written_in_parts(self, report: bytes) -> None:
        """A TPM takes 1024 bytes at once; ours writes what fits, so the rest is written here."""
        tpm = self.software.tpm()
        if storage.find(tpm, REPORT_INDEX) is None:
            public = struct.pack(">IHIHH", REPORT_INDEX, 0x000B, 0x00060002, 0, len(report))
            body = struct.pack(">I", OWNER) + PASSWORD + bytes(2) + struct.pack(">H", len(public)) + public
            sent(self.software, 0x12A, body)
        for offset in range(0, len(report), 512):
            part = report[offset : offset + 512]
            body = struct.pack(">II", OWNER, REPORT_INDEX) + PASSWORD
            sent(
                self.software,
                _NV_WRITE,
                body + struct.pack(">H", len(part)) + part + struct.pack(">H", offset),
            )

    def reported(self) -> Azure:
        """What the VM is, with the key of its vTPM."""
        return replace(
            self.machine, keys=(jwk(self.key),), user_data=self.written.hex(), behind=b"", configuration=SMALL
        )

    def exchange(self, command: bytes) -> bytes:
        response = self.software.exchange(command)
        code, *handles = struct.unpack_from(">III", command + bytes(8), 6)
        if code == _NV_WRITE and handles[1] == USER_DATA_INDEX and response[6:10] == bytes(4):
            self.written = command[-66:-2]
            self.waiting = self.late
            if not self.late:
                self.publish()
        return response

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.waiting -= 1
        if self.waiting == 0:
            self.publish()

    def tpm(self) -> Tpm:
        return Tpm(self.exchange, self.pause)


# An index of swtpm holds 2048 bytes, that of Azure 2600.
SMALL = {"secure-boot": True, "vmUniqueId": "ONE"}


def jwk(key: rsa.RSAPublicKey) -> dict[str, object]:
    numbers = key.public_numbers()
    return azure.jwk_of(numbers.n, 2048, "HCLAkPub")
