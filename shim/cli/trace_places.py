"""
From what a recorder saw to a trace: file offsets become addresses, functions and digests, numbers names.

Reads the files that made calls, after the run; one that changed or is gone meanwhile keeps its offsets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import shim
from shim.canonical import sha256_hex
from shim.elf.gopclntab import go_functions
from shim.elf.image import ElfImage, parse_elf
from shim.elf.symbols import symbols
from shim.errors import BinaryError
from shim.launch.mappings import Place
from shim.launch.record import AUDIT_ARCH_I386
from shim.launch.recording import OtherCall, RecordedCall, Recording
from shim.profile.profile import AnalysedObject, Site
from shim.profile.trace import ANONYMOUS, Abi, ForeignCall, OtherImage, Trace, TracedCall
from shim.syscalls import SyscallTable, table


class _Names:
    """The functions that a file names, by symbols or by Go's line table; a stripped file names none."""

    def __init__(self, image: ElfImage) -> None:
        found = {function.start: (function.end, function.name) for function in go_functions(image)}
        for symbol in symbols(image):
            if symbol.is_function:
                found[symbol.address] = (symbol.address + symbol.size, symbol.name)
        self._starts = sorted(found)
        self._found = found

    def at(self, address: int) -> str:
        """Return the name of the function around `address`, or ""."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return ""
        start = self._starts[index]
        end, name = self._found[start]
        return name if address < end or end == start else ""  # hand-written assembly states no size


@dataclass(frozen=True, slots=True)
class _File:
    """A mapped file; `image` and `names` are None where it could not be read as ELF."""

    entry: AnalysedObject
    image: ElfImage | None = None
    names: _Names | None = None

    def site(self, offset: int) -> Site:
        if self.image is not None:
            for segment in self.image.segments:
                if segment.offset <= offset < segment.offset + segment.file_size:
                    address = segment.address + offset - segment.offset
                    name = self.names.at(address) if self.names is not None else ""
                    return Site(self.entry.path, address - self.image.base, name)
        return Site(self.entry.path, max(offset, 0), "")


class MappedFiles:
    """
    The files that made calls, each read once.

    Args:
        read: Returns the bytes of the file at a path.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._files: dict[str, _File] = {}

    def trace(self, recording: Recording) -> Trace:
        """Return the trace of one recording."""
        syscalls = table("x86_64")
        program = self._program(recording)
        native: dict[int, list[RecordedCall]] = {}
        foreign: dict[tuple[Abi, int], list[RecordedCall]] = {}
        for call in recording.calls:
            abi = _abi(call.arch, call.number, syscalls)
            if abi is None:
                native.setdefault(call.number, []).append(call)
            else:
                foreign.setdefault((abi, call.number), []).append(call)
        return Trace(
            arch="x86_64",
            objects=(program.entry, *self._objects(recording, program)),
            calls=tuple(self._call(syscalls, native[number]) for number in sorted(native)),
            foreign=tuple(
                ForeignCall(*key, _count(foreign[key]), self._sites(foreign[key])) for key in sorted(foreign)
            ),
            others=_others(recording.others, syscalls),
            runs=1,
            unseen=recording.unseen,
            lost=recording.lost,
            tool_version=shim.__version__,
        )

    def _call(self, syscalls: SyscallTable, calls: list[RecordedCall]) -> TracedCall:
        kept = {
            call.arguments
            for call in calls
            if not call.dropped and any(a is not None for a in call.arguments)
        }
        return TracedCall(
            number=calls[0].number,
            name=syscalls.name(calls[0].number),
            count=_count(calls),
            arguments=tuple(sorted(kept, key=lambda tuples: [-1 if a is None else a for a in tuples])),
            arguments_dropped=any(call.dropped for call in calls),
            sites=self._sites(calls),
        )

    def _sites(self, calls: Iterable[RecordedCall]) -> tuple[Site, ...]:
        return tuple(sorted({self._site(call.place) for call in calls}))

    def _site(self, place: Place) -> Site:
        if not place.object.startswith("/"):
            return Site(place.object or ANONYMOUS, max(place.offset, 0), "")
        return self._file(place.object).site(place.offset)

    def _objects(self, recording: Recording, program: _File) -> list[AnalysedObject]:
        paths = {call.place.object for call in recording.calls if call.place.object.startswith("/")}
        files = {self._file(path).entry for path in paths} - {program.entry}
        return sorted(files, key=lambda entry: entry.path)

    def _program(self, recording: Recording) -> _File:
        """Return the file that was executed; its digest is the one taken while it was."""
        path = recording.program
        file = self._file(path, shared=False)
        if file.entry.sha256 != recording.sha256:
            file = _File(AnalysedObject(_text(path), recording.sha256, ""))
            self._files[path] = file
        return file

    def _file(self, path: str, *, shared: bool = True) -> _File:
        if path not in self._files:
            self._files[path] = self._parsed(path, shared=shared)
        return self._files[path]

    def _parsed(self, path: str, *, shared: bool) -> _File:
        try:
            data = self._read(path)
        except BinaryError:
            return _File(AnalysedObject(_text(path), "", ""))
        try:
            image = parse_elf(data, path, shared=shared)
            names = _Names(image)
        except BinaryError:
            return _File(AnalysedObject(_text(path), sha256_hex(data), ""))
        return _File(AnalysedObject(_text(path), image.sha256, image.build_id), image, names)


def _abi(arch: int, number: int, syscalls: SyscallTable) -> Abi | None:
    """Return which ABI a call belongs to that the table does not have, or None where it has it."""
    if arch == AUDIT_ARCH_I386:
        return "i386"
    if number >= syscalls.foreign_from:
        return "x32"
    return None if arch == syscalls.audit_arch and number in syscalls else "unknown"


def _count(calls: Iterable[RecordedCall | OtherCall]) -> int:
    return sum(call.count for call in calls)


def _others(calls: tuple[OtherCall, ...], syscalls: SyscallTable) -> tuple[OtherImage, ...]:
    paths: dict[str, list[OtherCall]] = {}
    for call in calls:
        paths.setdefault(call.path, []).append(call)
    return tuple(
        OtherImage(
            _text(path),
            _count(found),
            tuple(
                sorted(
                    syscalls.names[call.number]
                    for call in found
                    if _abi(call.arch, call.number, syscalls) is None
                )
            ),
        )
        for path, found in sorted(paths.items())
    )


def _text(path: str) -> str:
    """Return a path as text that any JSON can hold."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
