"""
A file system that behaves as configfs-tsm does, for code that has only system calls.

Mounted by FUSE, whose protocol is spoken here as far as such a caller needs it: include/uapi/linux/fuse.h, v6.12.
The rules are those of Documentation/ABI/testing/configfs-tsm-report, v6.12.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = struct.Struct("<IIQQIIII")
_REPLY = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_ROOM = 1 << 20
_ROOT = 1
LOOKUP, FORGET, GETATTR, MKDIR, RMDIR, OPEN, READ, WRITE, RELEASE, FLUSH, INIT = (
    1,
    2,
    3,
    9,
    11,
    14,
    15,
    16,
    18,
    25,
    26,
)
INTERRUPT, BATCH_FORGET = 36, 42
_UNANSWERED = (FORGET, BATCH_FORGET, INTERRUPT)


@dataclass
class Tsm:
    """
    What stands behind configfs-tsm.

    Attributes:
        provider: The driver; None where mkdir finds none (ENXIO).
        report: The report for what was written to inblob.
        auxblob: What the host adds; None where the driver has none.
        floor: The lowest privilege level; None where the driver has none.
        failures: Errors of the next reads or writes of a file, first things first.
        interferes: Whether somebody else writes between a write and a read.
    """

    provider: str | None = "sev_guest"
    report: Callable[[bytes], bytes] = bytes
    auxblob: bytes | None = None
    floor: int | None = None
    failures: dict[str, list[int]] = field(default_factory=dict)
    interferes: bool = False
    requests: list[str] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)
    generation: int = 0

    def files(self) -> list[str]:
        """Return the names of what is in a request."""
        optional = {"auxblob": self.auxblob, "privlevel": self.floor, "privlevel_floor": self.floor}
        return [
            "inblob",
            "outblob",
            "provider",
            "generation",
            *(k for k, v in optional.items() if v is not None),
        ]

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        self._fail(name)
        if name == "provider":
            return f"{self.provider}\n".encode()
        if name == "generation":
            return f"{self.generation}\n".encode()
        if name == "privlevel_floor":
            return f"{self.floor}\n".encode()
        if name == "outblob":
            if "inblob" not in self.written:
                raise OSError(errno.EINVAL, "nothing was written")
            if int(self.written.get("privlevel", b"0")) < (self.floor or 0):
                raise OSError(errno.EINVAL, "a level that is not allowed")
            self.generation += self.interferes
            return self.report(self.written["inblob"])
        if name == "auxblob":
            return self.auxblob or b""
        raise OSError(errno.EACCES, "write only")

    def write(self, name: str, data: bytes) -> None:
        """Take what is written."""
        self._fail(name)
        if name not in ("inblob", "privlevel") or len(data) > 64:
            raise OSError(errno.EINVAL, "no such value")
        self.written[name] = data
        self.generation += 1

    def _fail(self, name: str) -> None:
        if self.failures.get(name):
            raise OSError(self.failures[name].pop(0), "as the test says")


class _Server:
    def __init__(self, device: int, tsm: Tsm) -> None:
        self._device = device
        self._tsm = tsm
        self._nodes: dict[int, str] = {_ROOT: ""}
        self._names: dict[str, int] = {"": _ROOT}

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # unmounted
            while True:
                self._handle(os.read(self._device, _ROOM))

    def _handle(self, message: bytes) -> None:
        _, opcode, unique, node, *_ = _HEADER.unpack_from(message)
        if opcode in _UNANSWERED:
            return
        try:
            body, error = self._answer(opcode, self._nodes.get(node, ""), message[_HEADER.size :]), 0
        except OSError as failure:
            body, error = b"", -(failure.errno or errno.EIO)
        os.write(self._device, _REPLY.pack(_REPLY.size + len(body), error, unique) + body)

    def _answer(self, opcode: int, path: str, body: bytes) -> bytes:
        if opcode == INIT:
            minor = min(struct.unpack_from("<I", body, 4)[0], 31)
            return struct.pack("<IIIIHHIIHHI28x", 7, minor, 0, 0, 16, 12, 65536, 1, 16, 0, 0)
        if opcode == LOOKUP:
            return self._entry(path, body.rstrip(b"\0").decode())
        if opcode == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(path)
        if opcode == MKDIR:
            return self._make(body[8:].rstrip(b"\0").decode())
        if opcode == RMDIR:
            self._tsm.requests.remove(body.rstrip(b"\0").decode())
            self._tsm.written.clear()
            return b""
        if opcode == OPEN:
            return struct.pack("<QII", 0, 1, 0)  # direct I/O: each read comes here
        name = path.rpartition("/")[2]
        if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return self._content(path, name, offset)[offset : offset + size]
        if opcode == WRITE:
            (size,) = struct.unpack_from("<I", body, 16)
            self._tsm.write(name, body[40 : 40 + size])
            return struct.pack("<II", size, 0)
        if opcode in (FLUSH, RELEASE):
            return b""
        raise OSError(errno.ENOSYS, str(opcode))

    def _content(self, path: str, name: str, offset: int) -> bytes:
        """The kernel makes a blob when it is read from its start, and then reads on in it."""
        if offset == 0:
            self._read = (path, self._tsm.read(name))
        return self._read[1] if self._read[0] == path else b""

    def _make(self, name: str) -> bytes:
        if self._tsm.provider is None:
            raise OSError(errno.ENXIO, "no provider")
        if name in self._tsm.requests:
            raise OSError(errno.EEXIST, name)
        self._tsm.requests.append(name)
        return self._entry("", name)

    def _entry(self, folder: str, name: str) -> bytes:
        path = f"{folder}/{name}"
        known = self._tsm.requests if not folder else self._tsm.files()
        if name not in known:
            raise OSError(errno.ENOENT, path)
        node = self._names.setdefault(path, len(self._names) + 1)
        self._nodes[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(path)

    def _attributes(self, path: str) -> bytes:
        mode = 0o100600 if path.count("/") == 2 else 0o040700
        numbers = (self._names.get(path, 0), 0, 0, 0, 0, 0, 0, 0, 0)
        return _ATTRIBUTES.pack(*numbers, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


@contextlib.contextmanager
def mounted(folder: Path, tsm: Tsm) -> Iterator[None]:
    """
    Mount what behaves so on a folder.

    Raises:
        OSError: there is no FUSE here, or no right to mount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if libc.mount(b"tsm", os.fsencode(folder), b"fuse", 6, options.encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        server = threading.Thread(target=_Server(device, tsm).serve, daemon=True)
        server.start()
        try:
            yield
        finally:
            libc.umount2(os.fsencode(folder), 2)
            server.join(10)
    finally:
        os.close(device)
