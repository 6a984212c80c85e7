"""
Which shared objects does a user mean who declares a directory of them?

Interpreters and hosts of plugins keep modules in trees, under names that end in anything: what can be opened
shows in the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shim.elf.dynamic import Dynamic, read_dynamic
from shim.elf.files import BoundedFiles, FileSource
from shim.elf.image import parse_elf
from shim.errors import UnsupportedElfError

_MAGIC = b"\x7fELF"
_TYPE = slice(16, 18)
_ET_DYN = b"\x03\x00"


def declared_objects(path: str, files: FileSource) -> tuple[str, ...]:
    """
    Return the paths of all shared objects below the directory at `path`; of anything else `path` itself.

    Programs and relocatable files below it are none: no loader opens them. Links to directories are not
    followed, links to files are. They are sorted, but what others of them need stands before those:
    a host opens it first, by its path, and then it is found by its name alone.

    Raises:
        UnsupportedElfError: a directory without any, more files than are searched, or a shared object of
            another machine.
        BinaryError: a file that claims to be one and is damaged, or cannot be read.

    Source:
        System V ABI, ELF header, e_type; glibc 2.36, elf/dl-load.c (DF_1_PIE; _dl_map_object compares names).
    """
    if not files.listing(path):
        return (path,)
    found = dict(sorted(_below(path.rstrip("/"), BoundedFiles(files))))
    if not found:
        raise UnsupportedElfError(
            path, "a directory without shared objects", "some to take, or one by its name"
        )
    return tuple(_needed_first(found))


def _below(directory: str, files: FileSource) -> Iterator[tuple[str, Dynamic]]:
    pending = [directory]
    while pending:
        folder = pending.pop()
        for name in files.listing(folder):
            path = f"{folder}/{name}"
            data = files.read(path)
            if data is not None:
                dynamic = _opened(data, path)
                if dynamic is not None:
                    yield path, dynamic
            elif files.canonical(path) == f"{files.canonical(folder).rstrip('/')}/{name}":
                pending.append(path)


def _opened(data: bytes, path: str) -> Dynamic | None:
    """Return what a shared object says of itself, None for what no loader opens."""
    if data[: len(_MAGIC)] != _MAGIC or data[_TYPE] != _ET_DYN:
        return None
    dynamic = read_dynamic(parse_elf(data, path, shared=True))
    return None if dynamic.program else dynamic


def _needed_first(found: Mapping[str, Dynamic]) -> Iterator[str]:
    named: dict[str, str] = {}
    for path, dynamic in found.items():
        for name in (dynamic.soname, path.rpartition("/")[2]):
            named.setdefault(name, path)
    visited: set[str] = set()
    waiting = [(path, False) for path in reversed(tuple(found))]
    while waiting:
        path, complete = waiting.pop()
        if complete:
            yield path
        elif path not in visited:
            visited.add(path)
            waiting.append((path, True))
            waiting += [(named[name], False) for name in found[path].needed[::-1] if name in named]
