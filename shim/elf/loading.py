"""
In which order do objects come into a process, and which requests mean an object that is already there?

The loader's bookkeeping by name and by file; where files are found is the business of a `Search`.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.elf.dynamic import Dynamic, read_dynamic
from shim.elf.dynsym import read_symbols
from shim.elf.files import FileSource
from shim.elf.image import ElfImage, parse_elf
from shim.elf.loaded import GLIBC, MUSL, STRIDE, Closure, LoadedObject, base_of
from shim.elf.musl_search import names_libc
from shim.elf.search import (
    LD_SO,
    LD_SO_PRELOAD,
    Found,
    MissingObjectsError,
    ObjectNotFoundError,
    Requester,
    Search,
)
from shim.errors import UnsupportedElfError

MAX_OBJECTS = 1024
# How many missing objects are worth naming before the search is given up.
MAX_MISSING = 64


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The loader of a program: its file, DT_SONAME, and "glibc" or "musl", whose rules it follows."""

    found: Found
    soname: str
    rules: str


class _Entry:
    """A loaded object while its dependencies are still being found."""

    def __init__(
        self, found_as: str, path: str, image: ElfImage, requester: Requester, dynamic: Dynamic
    ) -> None:
        self.path = path
        self.image = image
        self.requester = requester
        self.dynamic = dynamic
        self.names = {path, found_as} - {""}
        self.needed: list[int] | None = None


# Shared objects that an earlier search parsed, by path and base.
Parsed = dict[tuple[str, int], ElfImage]


class Loading:
    """The loader's work on one process: `entries` grows in the order of its link map."""

    def __init__(
        self,
        program: ElfImage,
        interpreter: Interpreter,
        search: Search,
        files: FileSource,
        parsed: Parsed,
    ) -> None:
        self._parsed = parsed
        self._missing: list[ObjectNotFoundError] = []
        self._program = program
        self._interpreter = interpreter
        self._search = search
        self._files = files
        self._entries: list[_Entry] = []
        self._by_name: dict[str, int] = {}
        self._by_file: dict[str, int] = {}
        self._interpreter_index: int | None = None

    def start(self, preload: tuple[str, ...], preload_file: tuple[str, ...]) -> list[int]:
        """Load everything that is mapped before the program runs; return the global scope."""
        self._add_program()
        scope = [0]
        for name in preload:
            self._append(scope, self._load(name, 0))
        for name in preload_file:
            try:
                self._append(scope, self._find(name, 0))
            except ObjectNotFoundError as error:
                self._search.findings.append(f"{LD_SO_PRELOAD}: {error.where}: not there, the loader goes on")
        self._breadth_first(scope)
        self._interpreter_as(self._interpreter.found.path)
        return scope

    def module(self, name: str) -> list[int]:
        """Load what dlopen loads for `name`; return its own scope."""
        scope: list[int] = []
        self._append(scope, self._load(name, 0))
        self._breadth_first(scope)
        return scope

    def finish(self, scope: list[int], modules: list[list[int]]) -> Closure:
        """Return the closure; raises MissingObjectsError with everything that was not found."""
        if self._missing:
            raise MissingObjectsError(self._program.path, tuple(self._missing))
        at_start = set(scope) | {self._interpreter_index}
        local: dict[int, tuple[int, ...]] = {}
        for members in modules:
            for index in members:
                if index not in at_start:
                    local.setdefault(index, tuple(members))
        objects = tuple(
            LoadedObject(
                index=index,
                path=entry.path,
                soname=entry.dynamic.soname,
                names=frozenset(entry.names),
                image=entry.image,
                dynamic=entry.dynamic,
                symbols=read_symbols(entry.image, entry.dynamic),
                needed=tuple(entry.needed or ()),
            )
            for index, entry in enumerate(self._entries)
        )
        return Closure(
            objects=objects,
            global_scope=tuple(scope),
            local_scopes=tuple(local.get(index, ()) for index in range(len(objects))),
            interpreter=self._interpreter_index,
            loader=self._interpreter.rules,
            findings=tuple(self._search.findings),
        )

    def _breadth_first(self, scope: list[int]) -> None:
        """Append to `scope` what its members need, and what that needs: the list grows while it is read."""
        for index in scope:
            entry = self._entries[index]
            if entry.needed is None:
                loaded = [self._load(name, index) for name in entry.dynamic.needed]
                entry.needed = [found for found in loaded if found is not None]
            for needed in entry.needed:
                self._append(scope, needed)

    def _append(self, scope: list[int], index: int | None) -> None:
        if index is not None and index not in scope:
            scope.append(index)

    def _load(self, name: str, requester: int) -> int | None:
        """Return the index of the object for `name`; None, with a line in `missing`, where there is none."""
        try:
            return self._find(name, requester)
        except ObjectNotFoundError as error:
            self._missing.append(error)
            if len(self._missing) >= MAX_MISSING:
                raise MissingObjectsError(self._program.path, tuple(self._missing)) from error
            return None

    def _find(self, name: str, requester: int) -> int:
        asking = self._entries[requester].requester
        name = self._search.expand(name, asking)
        if name in self._by_name:
            index = self._by_name[name]
            self._entries[index].names.add(name)
            return index
        if self._means_interpreter(name):
            return self._interpreter_as(name)
        found = self._search.find(name, asking)
        canonical = self._files.canonical(found.path)
        if canonical == self._files.canonical(self._interpreter.found.path):
            return self._interpreter_as(name)
        if canonical in self._by_file:
            index = self._by_file[canonical]
            self._by_name[name] = index
            self._entries[index].names.add(name)
            return index
        return self._add(name, found, asking)

    def _means_interpreter(self, name: str) -> bool:
        if self._interpreter.rules == MUSL:
            return name == self._interpreter.found.path or names_libc(name)
        return name in (self._interpreter.found.path, self._interpreter.soname)

    def _interpreter_as(self, name: str) -> int:
        """Return the index of the interpreter: mapped already, it joins the list when it is needed."""
        if self._interpreter_index is None:
            found, requester = self._interpreter.found, self._entries[0].requester
            self._interpreter_index = self._add(found.path, found, requester)
        self._by_name.setdefault(name, self._interpreter_index)
        self._entries[self._interpreter_index].names |= {name, self._interpreter.soname} - {""}
        return self._interpreter_index

    def _add_program(self) -> None:
        path = self._program.path
        absolute = self._files.canonical(path) if path.startswith("/") else ""
        self._register("", path, self._program, absolute, None)

    def _add(self, name: str, found: Found, loader: Requester) -> int:
        index = len(self._entries)
        if index >= MAX_OBJECTS:
            raise UnsupportedElfError(
                self._program.path, f"more than {MAX_OBJECTS} objects", f"at most {MAX_OBJECTS}"
            )
        base = base_of(index)
        image = self._parsed.get((found.path, base))
        if image is None or image.data != found.data:
            image = parse_elf(found.data, found.path, base=base, shared=True)
            self._parsed[found.path, base] = image
        self._register(name, found.path, image, found.path, loader)
        if self._entries[-1].dynamic.program:
            raise UnsupportedElfError(
                found.path, "a position-independent executable", "a shared object", LD_SO
            )
        return index

    def _register(
        self, name: str, path: str, image: ElfImage, absolute: str, loader: Requester | None
    ) -> None:
        index = len(self._entries)
        if image.segments[-1].end > base_of(index) + STRIDE:
            raise UnsupportedElfError(path, f"an object up to {image.segments[-1].end:#x}", "4 GiB at most")
        dynamic = read_dynamic(image)
        requester = Requester(
            path=path,
            origin=(absolute.rpartition("/")[0] or "/") if absolute else "",
            rpath=dynamic.rpath,
            runpath=dynamic.runpath,
            no_default_directories=dynamic.no_default_directories,
            loader=loader,
        )
        self._entries.append(_Entry(name, path, image, requester, dynamic))
        self._by_file.setdefault(self._files.canonical(absolute) if absolute else path, index)
        # musl knows an object by the name that it was found by, glibc also by the one that it has.
        soname = dynamic.soname if self._interpreter.rules == GLIBC else ""
        for known in {name, path if index else "", soname} - {""}:
            self._by_name.setdefault(known, index)
