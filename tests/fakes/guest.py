"""
A machine of our own: its kernel keeps the rules that the documentation of its interfaces states.

configfs-tsm counts writes, has attributes that can only be read or only be written, caches an answer until the
next write, and takes binary attributes when they are closed, which hides its errors.  Devices follow the
pointers of their requests into our memory, as a kernel does.  Each part can be made to fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from attestation.guest import Stream
from attestation.tsm import REPORTS
from tests.fakes.amd import Chip

CHIP = Chip()
Ioctl = Callable[[int, bytearray], None]


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class Entry:
    """One request to configfs-tsm, as drivers/virt/coco/tsm.c keeps it."""

    inblob: bytes = b""
    privlevel: int = 0
    written: int = 0
    answered: int = -1
    outblob: bytes = b""


@dataclass
class Tsm:
    """
    configfs-tsm and the provider behind it.

    `refusals` are the errors of the next times that a report would be made; `intruders` are how many writes of
    somebody else fall between our write and our reading, each time; `lost` are writes that the kernel drops.
    """

    provider: str = "sev_guest"
    report: Callable[[bytes, int], bytes] = lambda data, level: CHIP.report(3, REPORT_DATA=data, VMPL=level)
    auxblob: bytes | None = b""
    manifestblob: bytes | None = None
    floor: int | None = 0
    smallest: int = 64
    registered: bool = True
    refusals: list[int] = field(default_factory=list)
    intruders: list[int] = field(default_factory=list)
    lost: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def names(self) -> set[str]:
        found = {"generation", "provider", "inblob", "outblob"}
        found |= {"auxblob"} if self.auxblob is not None else set()
        found |= {"manifestblob"} if self.manifestblob is not None else set()
        return found | ({"privlevel", "privlevel_floor"} if self.floor is not None else set())

    def mkdir(self, name: str) -> None:
        if not self.registered:
            raise error(errno.ENXIO)
        if name in self.entries:
            raise error(errno.EEXIST)
        self.entries[name] = Entry()
        self.made.append(name)

    def rmdir(self, name: str) -> None:
        if name not in self.entries:
            raise error(errno.ENOENT)
        del self.entries[name]

    def read(self, name: str, attribute: str) -> bytes:
        entry = self._entry(name, attribute)
        if attribute in {"inblob", "privlevel"}:
            raise error(errno.EACCES)
        if not self.registered:
            raise error(errno.ENXIO)
        if attribute == "generation":
            return b"%d\n" % entry.written
        if attribute == "provider":
            return f"{self.provider}\n".encode()
        if attribute == "privlevel_floor":
            return b"%d\n" % (self.floor or 0)
        self._answer(entry)
        return {"outblob": entry.outblob, "auxblob": self.auxblob, "manifestblob": self.manifestblob}[
            attribute
        ] or b""

    def write(self, name: str, attribute: str, data: bytes) -> None:
        entry = self._entry(name, attribute)
        if attribute not in {"inblob", "privlevel"}:
            raise error(errno.EACCES)
        if attribute == "privlevel":
            if not data.isdigit() or not (self.floor or 0) <= int(data) <= 3:
                raise error(errno.EINVAL)
            entry.privlevel = int(data)
        elif len(data) > 64:
            raise error(errno.EFBIG)
        elif self.lost:  # what goes wrong at the close of a binary attribute nobody hears of
            self.lost -= 1
            return
        else:
            entry.inblob = data
        entry.written += 1

    def _entry(self, name: str, attribute: str) -> Entry:
        if name not in self.entries or attribute not in self.names():
            raise error(errno.ENOENT)
        return self.entries[name]

    def _answer(self, entry: Entry) -> None:
        if not entry.inblob:
            raise error(errno.EINVAL)
        if entry.answered == entry.written:
            return
        if self.refusals:
            raise error(self.refusals.pop(0))
        if self.intruders:
            entry.written += (foreign := self.intruders.pop(0))
            entry.inblob = b"\xee" * 64 if foreign else entry.inblob
        if not self.smallest <= len(entry.inblob):
            raise error(errno.EINVAL)
        if entry.privlevel < (self.floor or 0):
            raise error(errno.EINVAL)
        entry.outblob = self.report(entry.inblob, entry.privlevel)
        entry.answered = entry.written


@dataclass
class FakeGuest:
    """A machine with the given files, devices and configfs-tsm; nothing else is there."""

    tsm: Tsm | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    ioctls: dict[str, Ioctl] = field(default_factory=dict)
    exchanges: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    service: Callable[[socket.socket], None] | None = None
    denied: frozenset[str] = frozenset()
    pauses: list[float] = field(default_factory=list)
    connected: list[tuple[int, int]] = field(default_factory=list)

    def exists(self, path: str) -> bool:
        if self.tsm is not None and path.startswith(f"{REPORTS}/"):
            name, _, attribute = path.removeprefix(f"{REPORTS}/").partition("/")
            return name in self.tsm.entries and attribute in self.tsm.names()
        return path in self.files or path in self.ioctls or path in self.exchanges

    def read(self, path: str, limit: int) -> bytes:
        data = self._of_tsm(path).read(*self._split(path)) if path.startswith(REPORTS) else self._file(path)
        if len(data) > limit:
            raise error(errno.EFBIG)
        return data

    def write(self, path: str, data: bytes) -> None:
        self._of_tsm(path).write(*self._split(path), data)

    def make_directory(self, path: str) -> None:
        self._of_tsm(path).mkdir(self._split(path)[0])

    def remove_directory(self, path: str) -> None:
        self._of_tsm(path).rmdir(self._split(path)[0])

    def ioctl(self, device: str, request: int, argument: bytearray) -> None:
        self._file_or_device(device)
        self.ioctls[device](request, argument)

    def exchange(self, device: str, message: bytes, limit: int) -> bytes:
        self._file_or_device(device)
        return self.exchanges[device](message)[:limit]

    def connect(self, cid: int, port: int, /) -> Stream:
        self.connected.append((cid, port))
        if self.service is None:
            raise error(errno.ECONNRESET)
        near, far = socket.socketpair()
        with far:
            self.service(far)
        return near

    def pause(self, seconds: float, /) -> None:
        self.pauses.append(seconds)

    def _of_tsm(self, path: str) -> Tsm:
        if REPORTS in self.denied:
            raise error(errno.EACCES)
        if self.tsm is None or not path.startswith(f"{REPORTS}/"):
            raise error(errno.ENOENT)
        return self.tsm

    @staticmethod
    def _split(path: str) -> tuple[str, str]:
        name, _, attribute = path.removeprefix(f"{REPORTS}/").partition("/")
        return name, attribute

    def _file(self, path: str) -> bytes:
        self._file_or_device(path)
        return self.files[path]

    def _file_or_device(self, path: str) -> None:
        if path in self.denied:
            raise error(errno.EACCES)
        if not self.exists(path):
            raise error(errno.ENOENT)


# Devices


def fetched(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def stored(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


@dataclass
class SevGuest:
    """
    /dev/sev-guest: include/uapi/linux/sev-guest.h, v6.12.

    `refusals` are errno, firmware error and host error of the next requests; certificates that need more room
    than was given are refused as the kernel does, with the size that they need.
    """

    certificates: bytes = b""
    refusals: list[tuple[int, int, int]] = field(default_factory=list)
    most: int = 4 * 4096
    status: int = 0
    size: int | None = None
    asked: list[int] = field(default_factory=list)

    def __call__(self, request: int, argument: bytearray) -> None:
        assert len(argument) == 32
        version, asked, reply = struct.unpack_from("<B7xQQ", argument)
        self.asked.append(request)
        if version == 0:
            raise error(errno.EINVAL)
        if request not in {0xC0205300, 0xC0205302}:
            raise error(errno.ENOTTY)
        if self.refusals:
            number, firmware, host = self.refusals.pop(0)
            struct.pack_into("<II", argument, 24, firmware, host)
            raise error(number)
        if request == 0xC0205302:
            self._put_certificates(argument, asked)
        user_data, vmpl = struct.unpack("<64sI28x", fetched(asked, 96))
        made = CHIP.report(3, REPORT_DATA=user_data, VMPL=vmpl)
        size = len(made) if self.size is None else self.size
        stored(reply, struct.pack("<II24x", self.status, size) + made)

    def _put_certificates(self, argument: bytearray, asked: int) -> None:
        address, size = struct.unpack("<QI4x", fetched(asked + 96, 16))
        if size > self.most or size % 4096:
            raise error(errno.EINVAL)
        if len(self.certificates) > size:
            stored(asked + 104, struct.pack("<I", -(-len(self.certificates) // 4096) * 4096))
            struct.pack_into("<II", argument, 24, 0, 1)
            raise error(errno.EIO)
        stored(address, self.certificates.ljust(size, b"\0"))


@dataclass
class TdxGuest:
    """/dev/tdx_guest: include/uapi/linux/tdx-guest.h, v6.12; TDREPORT has REPORTDATA at 128."""

    refusal: int = 0
    silent: bool = False

    def __call__(self, request: int, argument: bytearray) -> None:
        assert len(argument) == 1088
        if request != 0xC4405401:
            raise error(errno.ENOTTY)
        if self.refusal:
            raise error(self.refusal)
        if not self.silent:
            argument[64:] = self.report(bytes(argument[:64]))

    @staticmethod
    def report(data: bytes) -> bytes:
        return b"\x81" + bytes(127) + data + bytes(832)


@dataclass
class Nsm:
    """/dev/nsm: include/uapi/linux/nsm.h and drivers/misc/nsm.c, v6.12."""

    answer: Callable[[bytes], bytes]
    refusal: int = 0
    longer: int = 0

    def __call__(self, request: int, argument: bytearray) -> None:
        assert len(argument) == 32
        if request != 0xC0200A00:
            raise error(errno.EINVAL)
        address, size, place, room = struct.unpack("<QQQQ", argument)
        if size > 0x1000:
            raise error(errno.EMSGSIZE)
        if self.refusal:
            raise error(self.refusal)
        answer = self.answer(fetched(address, size))[:room]
        stored(place, answer)
        struct.pack_into("<Q", argument, 24, len(answer) + self.longer)


def no_pause(seconds: float) -> Any:  # noqa: ANN401  # never returns
    pytest.fail(f"waited for {seconds} seconds")
