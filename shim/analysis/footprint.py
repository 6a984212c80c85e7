"""
Which files does a program use, as far as its reachable code shows?

The objects that are mapped with the reason for each, the absolute paths that live code names, and the live
functions by name, out of an analysis that has been made already.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.analysis.program import Program
from shim.analysis.uses import Remaining
from shim.elf.image import ElfImage
from shim.elf.process import Module
from shim.profile.footprint import WELL_KNOWN_PATHS, Footprint, LiveFunction, Mapped, NamedPath, Origin

_LONGEST_PATH = 1024
# Longest first: of two that begin alike the longer one is meant.
_WELL_KNOWN = tuple(sorted((path.encode() for path in WELL_KNOWN_PATHS), key=len, reverse=True))


def footprint(program: Program, remaining: Remaining) -> Footprint:
    """
    Return which files the program uses.

    Args:
        program: The analysed program.
        remaining: What of it can run.

    Not checked:
        Paths that are put together while the program runs, or come from its input.
    """
    named = _Named(program, remaining)
    paths = tuple(sorted(named.paths()))
    idle = program.modules.unmapped
    return Footprint(
        origins=tuple(_origins(program, idle, named)),
        idle=tuple(sorted(idle)),
        paths=paths,
        functions=tuple(sorted(_functions(program, remaining))),
        go=bool(program.functions.go),
        findings=program.process.findings,
    )


class _Named:
    """The strings that live code names, each with the object and the first function that does."""

    def __init__(self, program: Program, remaining: Remaining) -> None:
        self._program = program
        reach, covers = program.reach, remaining.dead.covers
        owners: dict[int, int] = {}
        for address, ip in self._places():
            owner = program.questions.owner_of(ip)
            if owner in remaining.live and not covers(ip):
                owners[address] = min(owner, owners.get(address, owner))
        for address in reach.pointed:
            owners.setdefault(address, 0)
        self._owners = owners

    def _places(self) -> Iterator[tuple[int, int]]:
        """Yield each data address that code names, or reads out of a slot, with the instruction."""
        reach = self._program.reach
        for reference in reach.references_of_all():
            if reference.address in reach.named_data:
                yield reference.address, reference.ip
        for address, instructions in reach.pointer_reads.items():
            yield from ((address, ip) for ip in instructions)

    def paths(self) -> Iterator[NamedPath]:
        """Yield each absolute path once for each object that names it."""
        first: dict[tuple[str, str], str] = {}
        for address in sorted(self._owners):
            for text in self._paths_at(address):
                function = self._function(address)
                place = (text, self._program.path(address))
                if function or place not in first:
                    first[place] = first.get(place) or function
        for (text, path), function in first.items():
            yield NamedPath(text, path, function)

    def naming(self, texts: frozenset[str]) -> tuple[str, str]:
        """Return the path of the first object that names one of `texts`, and which; none is ("", "")."""
        memory = self._program.memory
        for text in sorted(texts):
            for place in memory.places(text.encode() + b"\0"):
                if place in self._owners:
                    return self._program.path(place), text
        return "", min(texts, default="")

    def _function(self, address: int) -> str:
        owner = self._owners[address]
        return self._program.functions.name(owner) if owner else ""

    def _paths_at(self, address: int) -> Iterator[str]:
        memory = self._program.memory
        if memory.read(address, 1) != b"/":
            return
        start = memory.read(address, len(_WELL_KNOWN[0]) + 1)
        known = next((path for path in _WELL_KNOWN if start.startswith(path)), b"")
        if known:
            yield known.decode()
        text = memory.string(address, _LONGEST_PATH)
        # A list of paths may stand there, one behind the other, the last one empty.
        while text.startswith(b"/") and text.isascii() and text.decode("ascii").isprintable():
            if len(text) > 1:
                yield text.decode("ascii")
            address += len(text) + 1
            text = memory.string(address, _LONGEST_PATH)


def _origins(program: Program, idle: frozenset[str], named: _Named) -> Iterator[Origin]:
    """Yield why each object is mapped, in the order of the profile's objects."""
    process = program.process
    modules = {module.image.path: module for module in process.modules if module.image.path not in idle}
    needs = {need.image.path: need for need in process.needs if need.by.path not in idle}
    for image in process.images:
        path = image.path
        if path in idle:
            continue
        need = needs.get(path)
        if image is process.images[0]:
            yield Origin(path, Mapped.PROGRAM, "", "")
        elif image is process.interpreter:
            program_image = process.images[0]
            yield Origin(path, Mapped.INTERPRETER, program_image.path, program_image.interpreter or "")
        elif path in modules:
            yield _opened(modules[path], named)
        elif need is not None and need.name:
            yield Origin(path, Mapped.NEEDED, need.by.path, need.name)
        elif need is not None:
            yield Origin(path, Mapped.PRELOADED, "", "/etc/ld.so.preload")
        else:
            yield _brought(image, modules)


def _opened(module: Module, named: _Named) -> Origin:
    path = module.image.path
    if module.declared:
        return Origin(path, Mapped.DECLARED, "", "--modules")
    if module.opened_by:
        return Origin(path, Mapped.OPENED, *named.naming(module.opened_by))
    return Origin(path, Mapped.LISTED, *named.naming(module.listed_by))


def _brought(image: ElfImage, modules: dict[str, Module]) -> Origin:
    """Return the origin of what a module that nothing opens needed first, and an open one as well."""
    for module in modules.values():
        if image in module.brings:
            return Origin(image.path, Mapped.NEEDED, module.image.path, image.path.rpartition("/")[2])
    return Origin(image.path, Mapped.NEEDED, "", image.path.rpartition("/")[2])


def _functions(program: Program, remaining: Remaining) -> Iterator[LiveFunction]:
    """Yield what can run, under every name that it has."""
    names: dict[int, set[str]] = {}
    for exports in (*program.process.exports, *(module.exports for module in program.process.modules)):
        for name, address in exports.items():
            names.setdefault(address, set()).add(name)
    live = [entry for entry in remaining.live if entry in program.reach.functions]
    for entry in live:
        name = program.functions.name(entry)
        if not name.startswith("sub_"):
            names.setdefault(entry, set()).add(name)
    callers = _callers(program, remaining, names)
    for entry in live:
        for name in names.get(entry, ()):
            yield LiveFunction(program.path(entry), name, callers.get(entry, ()))


def _callers(
    program: Program, remaining: Remaining, names: dict[int, set[str]]
) -> dict[int, tuple[str, ...]]:
    """Return for each named function that other objects use their paths."""
    order = {image.path: number for number, image in enumerate(program.process.images)}
    found: dict[int, set[str]] = {}
    for node, targets in remaining.targets.items():
        own = ""
        for target in targets:
            if target in names:
                own = own or program.path(node)
                if program.path(target) != own:
                    found.setdefault(target, set()).add(own)
    return {target: tuple(sorted(paths, key=order.__getitem__)) for target, paths in found.items()}
