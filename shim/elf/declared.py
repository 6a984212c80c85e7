"""
Which shared objects does a user mean who declares a directory of them?

Interpreters and hosts of plugins keep modules in trees, under names that end in anything: what can be opened
shows in the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.elf.dynamic import read_dynamic
from shim.elf.files import BoundedFiles, FileSource
from shim.elf.image import parse_elf
from shim.errors import UnsupportedElfError

_MAGIC = b"\x7fELF"
_TYPE = slice(16, 18)
_ET_DYN = b"\x03\x00"


def declared_objects(path: str, files: FileSource) -> tuple[str, ...]:
    """
    Return the paths of all shared objects below the directory at `path`, sorted; else `path` itself.

    Programs and relocatable files below it are none: no loader opens them. Links to directories are not
    followed, links to files are.

    Raises:
        UnsupportedElfError: a directory without any, more files than are searched, or a shared object of
            another machine.
        BinaryError: a file that claims to be one and is damaged, or cannot be read.

    Source:
        System V ABI, ELF header, e_type; glibc 2.36, elf/dl-load.c (DF_1_PIE).
    """
    if not files.listing(path):
        return (path,)
    found = tuple(sorted(_below(path.rstrip("/"), BoundedFiles(files))))
    if not found:
        raise UnsupportedElfError(
            path, "a directory without shared objects", "some to take, or one by its name"
        )
    return found


def _below(directory: str, files: FileSource) -> Iterator[str]:
    pending = [directory]
    while pending:
        folder = pending.pop()
        for name in files.listing(folder):
            path = f"{folder}/{name}"
            data = files.read(path)
            if data is not None:
                if _is_opened(data, path):
                    yield path
            elif files.canonical(path) == f"{files.canonical(folder).rstrip('/')}/{name}":
                pending.append(path)


def _is_opened(data: bytes, path: str) -> bool:
    if data[: len(_MAGIC)] != _MAGIC or data[_TYPE] != _ET_DYN:
        return False
    return not read_dynamic(parse_elf(data, path, shared=True)).program
