"""
Which modules of a kernel does a machine need, and in which order are they loaded?

The files that depmod writes say what depends on what; a module is taken out of its compression here, so that
whoever loads it needs nothing but its bytes.
"""

from __future__ import annotations

import lzma
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from images.decompress import gunzip, unzstd
from images.errors import ImageSpecError

SOURCE = "modules.dep(5), modules.builtin of depmod(8), kmod 30"
MAXIMUM_SIZE = 64 << 20
FOLDER = "/shim/modules"
_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")

Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What something needs of the kernel.

    Attributes:
        names: Modules of which those are taken that there are, as modprobe(8) takes names.
        reason: What needs them.
        all_of_them: None of them may be missing; else one is enough.
    """

    names: tuple[str, ...]
    reason: str
    all_of_them: bool = True


@dataclass(frozen=True, slots=True)
class KernelModule:
    """
    One module, ready to be loaded.

    Attributes:
        name: As the kernel has it, with underscores.
        data: An ELF object, signed if its kernel's are.
        reason: What needs it.
    """

    name: str
    data: bytes
    reason: str

    @property
    def path(self) -> str:
        """Its place in an image."""
        return f"{FOLDER}/{self.name}.ko"


def modules_for(wanted: Iterable[Wanted], read: Read, where: str) -> tuple[KernelModule, ...]:
    """
    Return the modules that are wanted, before each those that it depends on; none that is built in.

    Args:
        wanted: What is needed, first things first.
        read: Returns a file of the modules' folder by its path in there, None where there is none.
        where: That folder, for errors.

    Raises:
        ImageSpecError: a module that this kernel does not have, a damaged file, no modules at all.

    Not checked:
        Soft dependencies and options of modprobe.d, which are policies of a distribution. That the kernel
        takes a module: it looks at its signature and its version.

    Source:
        modules.dep(5): of the dependencies on a line each one needs only those behind it.
    """
    table = read("modules.dep")
    if table is None:
        want = "the modules of the kernel that boots; --kernel-modules DIR names another place"
        raise ImageSpecError(where, "no modules.dep", want)
    paths = _dependencies(table, where)
    built_in = {_name(line) for line in _lines(read("modules.builtin") or b"")}
    found: dict[str, KernelModule] = {}
    for one in wanted:
        there = [name for name in map(_plain, one.names) if name in paths or name in built_in]
        missing = [name for name in map(_plain, one.names) if name not in there]
        if missing and (one.all_of_them or not there):
            raise ImageSpecError(f"{where}: {one.reason}", f"no module {' or '.join(missing)}", "it", SOURCE)
        for name in there:
            for path in paths.get(name, ()):
                module = _name(path)
                because = one.reason if module == name else f"{name} needs it: {one.reason}"
                if module not in found:
                    found[module] = KernelModule(module, _content(path, read, where), because)
    return tuple(found.values())


def _dependencies(table: bytes, where: str) -> Mapping[str, tuple[str, ...]]:
    """Return the paths to load for each module by name, itself last."""
    found = {}
    for line in _lines(table):
        path, colon, others = line.partition(":")
        if not colon:
            raise ImageSpecError(f"{where}/modules.dep", repr(line[:80]), "PATH: DEPENDENCIES", SOURCE)
        found[_name(path)] = (*reversed(others.split()), path)
    return found


def _content(path: str, read: Read, where: str) -> bytes:
    place = posixpath.join(where, path)
    data = read(path)
    if data is None:
        raise ImageSpecError(place, "no such file", "the module that modules.dep names", SOURCE)
    unpacked = _unpacked(path, data, place)
    if unpacked[:4] != b"\x7fELF":
        raise ImageSpecError(place, f"{unpacked[:4]!r} at its start", "an ELF object", SOURCE)
    return unpacked


def _unpacked(path: str, data: bytes, where: str) -> bytes:
    if path.endswith(".ko"):
        return data
    if path.endswith(".xz"):
        try:
            return lzma.LZMADecompressor(memlimit=MAXIMUM_SIZE * 2).decompress(data, MAXIMUM_SIZE)
        except lzma.LZMAError as error:
            raise ImageSpecError(where, f"a damaged xz stream ({error})", "a module") from error
    pieces = (
        gunzip(data, where, ImageSpecError) if path.endswith(".gz") else unzstd(data, where, ImageSpecError)
    )
    whole = b""
    for piece in pieces:
        whole += piece
        if len(whole) > MAXIMUM_SIZE:
            raise ImageSpecError(where, f"more than {MAXIMUM_SIZE} bytes", "a module")
    return whole


def _lines(data: bytes) -> list[str]:
    return [line for line in data.decode(errors="replace").splitlines() if line.strip()]


def _name(path: str) -> str:
    name = posixpath.basename(path.strip())
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return _plain(name)


def _plain(name: str) -> str:
    return name.replace("-", "_")
