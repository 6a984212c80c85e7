"""
What does a thread of a recorded tree execute, and which place of which file is an address of it?

Reads /proc while the thread waits in a call, so that nothing changes meanwhile.  Never parses an ELF file:
places are file offsets.
"""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_PLACES: Final = 65536
"""Different places that are told apart; calls from further ones are counted under `ELSEWHERE`."""

_ENTRY_SIZE: Final = 2
"""Bytes of `syscall`, `int 0x80` and `sysenter`: the reported address lies behind the instruction."""

_EXECUTABLE: Final = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ \d+ *(.*)$", re.MULTILINE
)
_TGID: Final = re.compile(rb"^Tgid:\t(\d+)$", re.MULTILINE)
_FileId = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """
    An instruction that enters the kernel.

    Attributes:
        object: Path of the mapped file as /proc shows it, with " (deleted)" if it is gone; "[vdso]";
            "" for memory that no file backs.
        offset: Offset of the instruction in the file, or in its mapping where no file backs it.
    """

    object: str
    offset: int


@dataclass(frozen=True, slots=True, order=True)
class Image:
    """A file that a process of the tree executes and that is not the program; "" if it cannot be known."""

    path: str


ELSEWHERE: Final = Place("", -1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The executable mappings of one address space."""

    starts: tuple[int, ...]
    mappings: tuple[tuple[int, int, str], ...]

    def place(self, address: int) -> Place | None:
        index = bisect_right(self.starts, address) - 1
        if index < 0:
            return None
        end, offset, path = self.mappings[index]
        return Place(path, address - self.starts[index] + offset) if address < end else None


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one look at a thread found, as `record_thread` of native/record.h takes it.

    Attributes:
        leader: The thread that leads its process.
        space: Equal for address spaces with the same code at the same addresses.
        place: Number that stands for every call of a process that is not the program, or 0.
    """

    leader: int
    space: int
    place: int


class Mappings:
    """
    Places and images by number, from 1 in the order of their first call.

    Args:
        proc: The proc file system.
    """

    def __init__(self, proc: Path) -> None:
        self.places: list[Place | Image] = []
        self.program = ""
        self.sha256 = ""
        self._proc = str(proc)
        self._program_id: _FileId | None = None
        self._known: dict[Place | Image, int] = {}
        self._layouts: dict[int, tuple[int, _Layout | None]] = {}

    def look(self, slot: int, thread: int) -> Look:
        """
        Return what `thread`, which waits in a call, executes; the first one ever executes the program.

        Where it may not be known, what was known of the thread stays true; a thread that nothing is known of
        counts as an image of its own.
        """
        leader = self._leader(thread)
        try:
            file = Path(f"{self._proc}/{thread}/exe").stat()
            mapped = self._read(thread, "maps")
        except OSError:
            known_thread, layout = self._layouts.get(slot, (0, None))
            if known_thread == thread and layout is not None:
                return Look(leader, hash(layout.starts) & _ALL_BITS, 0)
            self._layouts[slot] = (thread, None)
            return Look(leader, 0, self._number(Image("")))
        file_id = (file.st_dev, file.st_ino)
        if self._program_id is None:
            self._program_id = file_id
            self._take_program(thread)
        if file_id != self._program_id:
            self._layouts[slot] = (thread, None)
            return Look(leader, 0, self._number(Image(self._path(thread))))
        layout = _layout(mapped)
        self._layouts[slot] = (thread, layout)
        return Look(leader, hash(layout) & _ALL_BITS, 0)

    def place(self, slot: int, thread: int, address: int) -> int:
        """Return the number of the place whose call returns to `address` in the thread of that slot."""
        layout = self._layouts[slot][1]
        place = layout.place(address - _ENTRY_SIZE) if layout is not None else None
        if place is None:  # mapped since the last look
            try:
                layout = _layout(self._read(thread, "maps"))
            except OSError:
                return self._number(ELSEWHERE)
            self._layouts[slot] = (thread, layout)
            place = layout.place(address - _ENTRY_SIZE)
        return self._number(place if place is not None else ELSEWHERE)

    def _number(self, place: Place | Image) -> int:
        if place not in self._known:
            if len(self.places) >= MAX_PLACES and place != ELSEWHERE:
                return self._number(ELSEWHERE)
            self.places.append(place)
            self._known[place] = len(self.places)
        return self._known[place]

    def _take_program(self, thread: int) -> None:
        self.program = self._path(thread)
        with open(f"{self._proc}/{thread}/exe", "rb") as file:  # noqa: PTH123  # a link to what no path names
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def _path(self, thread: int) -> str:
        try:
            return os.readlink(f"{self._proc}/{thread}/exe")  # noqa: PTH115  # the text is no path to follow
        except OSError:
            return ""

    def _read(self, thread: int, name: str) -> bytes:
        with open(f"{self._proc}/{thread}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  # hot
            return file.read()

    def _leader(self, thread: int) -> int:
        """Return the thread that leads the process; asking for a pidfd first is cheaper than reading."""
        try:
            os.close(os.pidfd_open(thread))
        except OSError:
            try:
                found = _TGID.search(self._read(thread, "status"))
            except OSError:
                return thread
            return int(found[1]) if found else thread
        return thread


_ALL_BITS: Final = 2**64 - 1


def _layout(maps: bytes) -> _Layout:
    found = _EXECUTABLE.findall(maps)
    return _Layout(
        tuple(int(start, 16) for start, _, _, _ in found),
        tuple((int(end, 16), int(offset, 16), os.fsdecode(path)) for _, end, offset, path in found),
    )
