"""What a launch has to know of the files of a program beside its profile: where things lie in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shim.canonical import sha256_hex
from shim.elf.dynamic import read_dynamic
from shim.elf.image import ElfImage, parse_elf
from shim.elf.pages import PAGE, constant_pages
from shim.profile.profile import AnalysedObject, Profile


@dataclass(frozen=True, slots=True)
class MappedObject:
    """
    The loader, or a shared object that it maps before the program's own first instruction.

    Attributes:
        path: As the profile names it.
        digest: SHA-256 of the file, 32 bytes.
        address: Of the first mapped page, in the file's addresses.
        sealed: Whole pages that nobody shall change or unmap.
    """

    path: str
    digest: bytes
    address: int
    sealed: tuple[range, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Where things lie in the files of a program, in their own addresses.

    Attributes:
        entry_point: Of the program's first instruction.
        sealed: Whole pages of the program that nobody shall change or unmap.
        objects: What is mapped beside it when that instruction is reached; none for a static program.
        opened: Paths of objects that the program may open later.
    """

    entry_point: int
    sealed: tuple[range, ...]
    objects: tuple[MappedObject, ...] = ()
    opened: tuple[str, ...] = ()


def layout_of(profile: Profile, image: ElfImage, read: Callable[[str], bytes | None]) -> Layout:
    """
    Return the layout of the program with this profile.

    Args:
        profile: Names every object that was analysed, and its digest.
        image: The program.
        read: Returns what a file holds, None if it is not there.

    Raises:
        BinaryError: an object is no shared object any more.

    Not checked:
        That a file is still the one that was analysed: one that is not has no part in the layout, and the
        launcher refuses it where it is mapped.
    """
    sealed = constant_pages(image)
    known = {one.path: one for one in profile.objects[1:]}
    images = {
        path: parse_elf(data, path, shared=True)
        for path, one in known.items()
        if (data := read(path)) is not None and sha256_hex(data) == one.sha256
    }
    started = _started(image, images)
    return Layout(
        image.entry - image.base,
        sealed,
        tuple(_mapped(known[path], images[path]) for path in sorted(started)),
        tuple(sorted(known.keys() - started)),
    )


def _started(program: ElfImage, images: dict[str, ElfImage]) -> set[str]:
    """Return the paths of what is mapped from the start: the loader, and what is needed, transitively."""
    names: dict[str, str] = {}
    needed = {path: read_dynamic(image) for path, image in images.items()}
    for path, dynamic in needed.items():
        names[dynamic.soname or path.rpartition("/")[2]] = path
        names.setdefault(path.rpartition("/")[2], path)
        names[path] = path
    loader = program.interpreter or ""
    pending = [names[name] for name in (loader, loader.rpartition("/")[2]) if name in names][:1]
    pending += [names[name] for name in read_dynamic(program).needed if name in names]
    found: set[str] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += [names[name] for name in needed[path].needed if name in names]
    return found


def _mapped(one: AnalysedObject, image: ElfImage) -> MappedObject:
    first = min(segment.address for segment in image.segments) - image.base
    return MappedObject(
        one.path, bytes.fromhex(one.sha256), first // PAGE * PAGE, constant_pages(image, relocated=True)
    )
