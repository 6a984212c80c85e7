"""
Which objects does the loader map for a program, in which order and from which files?

The recipe: the program, what is preloaded, then breadth first what each object needs, then the modules that
were asked for. It never runs a loader and never looks at the machine it runs on: every file comes from a
`FileSource`.
"""

from __future__ import annotations

import re

from shim.elf.dynamic import read_dynamic
from shim.elf.dynsym import read_symbols
from shim.elf.files import BoundedFiles, FileSource, RootedFiles
from shim.elf.image import ElfImage, parse_elf
from shim.elf.loaded import GLIBC, MUSL, Closure, LoadedObject
from shim.elf.loading import Interpreter, Loading, Parsed
from shim.elf.musl_search import MuslSearch
from shim.elf.search import (
    LD_SO,
    LD_SO_PRELOAD,
    Found,
    GlibcSearch,
    MissingObjectsError,
    ObjectNotFoundError,
    Search,
)
from shim.errors import UnsupportedElfError

__all__ = ["Closure", "FileSource", "LoadedObject", "MissingObjectsError", "RootedFiles", "closure"]

_SEPARATORS = re.compile(r"[\s:]+")


def closure(
    program: ElfImage,
    files: FileSource,
    *,
    preload: tuple[str, ...] = (),
    extra: tuple[str, ...] = (),
    levels: tuple[str, ...] = (),
    parsed: Parsed | None = None,
) -> Closure:
    """
    Return the objects that the loader maps for `program`, each at a base address of its own.

    Args:
        program: Parsed at the default base; `program.path` is its absolute path in `files`, for $ORIGIN.
        files: The files of the machine or image that will run it.
        preload: What LD_PRELOAD will name; what /etc/ld.so.preload names comes behind it (glibc).
        extra: Modules that the program will open by dlopen, as it names them: loaded last, each with
            RTLD_LOCAL.
        levels: glibc-hwcaps levels that the CPU is taken to have, best first; without them the baseline is
            taken and every other variant is a finding.
        parsed: Keeps what was parsed from one search to the next.

    Raises:
        MissingObjectsError: objects that are not there, all at once.
        UnsupportedElfError: a loader that is neither glibc's nor musl's, filters, auditors, relative paths,
            more than 1024 objects or one of more than 4 GiB.
        BinaryError: a needed file that cannot be read, or is damaged.

    Not checked:
        What the program opens by dlopen beyond `extra`; LD_LIBRARY_PATH and AT_SECURE, taken to be unset.

    Source:
        ld.so(8); glibc 2.36, elf/rtld.c and elf/dl-deps.c; musl 1.2.5, ldso/dynlink.c.
    """
    if program.interpreter is None:
        return _alone(program)
    files = BoundedFiles(files)
    interpreter = _interpreter(program, program.interpreter, files)
    search: Search
    if interpreter.rules == GLIBC:
        search, preload_file = GlibcSearch(files, interpreter.found.data, levels), _preload_file(files)
    else:
        search, preload_file = MuslSearch(files, interpreter.found.path), ()
    loading = Loading(program, interpreter, search, files, {} if parsed is None else parsed)
    scope = loading.start(preload, preload_file)
    modules = [loading.module(name) for name in extra]
    return loading.finish(scope, modules)


def _alone(program: ElfImage) -> Closure:
    """Return the closure of a program that the kernel starts without a loader."""
    dynamic = read_dynamic(program)
    if dynamic.needed:
        raise UnsupportedElfError(
            f"{program.path}: PT_DYNAMIC",
            f"{len(dynamic.needed)} needed libraries",
            "PT_INTERP beside them",
            LD_SO,
        )
    alone = LoadedObject(
        index=0,
        path=program.path,
        soname=dynamic.soname,
        names=frozenset({program.path}),
        image=program,
        dynamic=dynamic,
        symbols=read_symbols(program, dynamic),
        needed=(),
    )
    return Closure((alone,), (0,), ((),), None, "", ())


def _interpreter(program: ElfImage, path: str, files: FileSource) -> Interpreter:
    if not path.startswith("/"):
        raise UnsupportedElfError(f"{program.path}: PT_INTERP", repr(path), "an absolute path")
    data = files.read(path)
    if data is None:
        missing = ObjectNotFoundError(path, program.path, (path,))
        raise MissingObjectsError(program.path, (missing,))
    soname = read_dynamic(parse_elf(data, path, shared=True)).soname
    if soname == "ld-linux-x86-64.so.2":
        return Interpreter(Found(path, data), soname, GLIBC)
    if path.rpartition("/")[2].startswith("ld-musl-") or soname.startswith("libc.musl-"):
        return Interpreter(Found(path, data), soname, MUSL)
    found = f"a loader with DT_SONAME {soname!r}"
    raise UnsupportedElfError(path, found, "that of glibc or musl for x86-64")


def _preload_file(files: FileSource) -> tuple[str, ...]:
    """Return what /etc/ld.so.preload names: separated by blanks and colons, comments after #."""
    data = files.read(LD_SO_PRELOAD)
    if data is None:
        return ()
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    words = (word for line in lines for word in _SEPARATORS.split(line.partition("#")[0]))
    return tuple(word for word in words if word)
