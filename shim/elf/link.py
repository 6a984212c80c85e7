"""
Where does every reference bind, and what does memory hold once the loader has relocated every object?

Bound as with LD_BIND_NOW: a slot that is filled at its first use has its final value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from shim.elf.dynamic import relocation_tables
from shim.elf.dynsym import STB_WEAK
from shim.elf.exports import exported, exported_resolvers, loader_references
from shim.elf.linkage import Binding, Linkage, UnboundError, UndefinedSymbol
from shim.elf.loaded import GLIBC, Closure, LoadedObject
from shim.elf.lookup import ANY, FUNCTION, ORIGINAL, Lookup
from shim.elf.relocations import RELA, relative_table, relocations
from shim.elf.symbols import SHN_UNDEF, STT_GNU_IFUNC
from shim.errors import MalformedElfError, UnsupportedElfError

__all__ = [
    "Binding", "Linkage", "UnboundError", "UndefinedSymbol",
    "exported", "exported_resolvers", "link", "loader_references",
]  # fmt: skip

PSABI = "x86-64 psABI 1.0, section 4.4.1, Relocation Types"
R_NONE, R_64, R_COPY, R_GLOB_DAT, R_JUMP_SLOT, R_RELATIVE = 0, 1, 5, 6, 7, 8
R_DTPMOD64, R_DTPOFF64, R_TPOFF64, R_SIZE64, R_TLSDESC, R_IRELATIVE = 16, 17, 18, 33, 36, 37
_ADDRESS = frozenset({R_64, R_GLOB_DAT, R_JUMP_SLOT})
_TLS = frozenset({R_DTPMOD64, R_DTPOFF64, R_TPOFF64, R_TLSDESC})
_WANTED = {R_64: ANY, R_GLOB_DAT: ANY, R_SIZE64: ANY, R_COPY: ORIGINAL, R_JUMP_SLOT: FUNCTION}
_WANTED.update(dict.fromkeys(_TLS, FUNCTION))
_WORD = (1 << 64) - 1


class _Target(NamedTuple):
    """What one symbol of one object means; `indirect` where `binding.address` is a resolver."""

    binding: Binding
    found: bool
    indirect: bool
    size: int


class _Relocation(NamedTuple):
    """One entry of a RELA table, its slot in memory."""

    slot: int
    kind: int
    symbol: int
    addend: int


def link(closure: Closure) -> Linkage:
    """
    Return what the loader makes of the objects of `closure`.

    Raises:
        UnboundError: symbols or versions without which the loader refuses to start the program, all at once;
            what a module lacks is no error, because the program goes on without it.
        UnsupportedElfError: a relocation of a type that is not supported.
        MalformedElfError: a relocation or table outside its object.

    Source:
        x86-64 psABI 1.0, section 4.4.1; glibc 2.36, sysdeps/x86_64/dl-machine.h and elf/dl-reloc.c.
    """
    if closure.interpreter is None:
        return _own_relocations(closure.objects[0])
    linker = _Linker(closure)
    for loaded in _relocation_order(closure):
        linker.relocate(loaded)
    linker.check_versions()
    if linker.fatal or linker.lacking:
        raise UnboundError(closure.objects[0].path, tuple(linker.fatal), tuple(linker.lacking))
    return linker.linkage()


class _Linker:
    """The memory of the process while one object after the other is relocated."""

    def __init__(self, closure: Closure) -> None:
        self.fatal: list[UndefinedSymbol] = []
        self.lacking: list[str] = []
        self._closure = closure
        self._lookup = Lookup(closure)
        self._pointers: dict[int, int] = {}
        self._resolvers: dict[int, int] = {}
        self._copies: list[tuple[int, int, int]] = []
        self._bindings: dict[int, Binding] = {}
        self._bound: set[int] = set()
        self._tls: set[int] = set()
        self._tls_descriptors: set[int] = set()
        self._lazy: list[UndefinedSymbol] = []
        self._refused: dict[int, str] = {}

    def linkage(self) -> Linkage:
        """Return the result after the last object."""
        return Linkage(
            pointers=self._pointers,
            resolvers=self._resolvers,
            copies=tuple(self._copies),
            bindings=self._bindings,
            bound=frozenset(self._bound),
            tls=frozenset(self._tls),
            tls_descriptors=frozenset(self._tls_descriptors),
            undefined=tuple(self._lazy),
            refused=self._refused,
        )

    def relocate(self, loaded: LoadedObject) -> None:
        """Apply the relocations of one object: most are RELATIVE, and many others share few symbols."""
        base = loaded.image.base
        self._pointers.update(relative_table(loaded.image))
        targets: dict[tuple[int, int], _Target] = {}
        for raw in relocation_tables(loaded.image, loaded.dynamic):
            words = struct.unpack("<" + "QQq" * (len(raw) // RELA.size), raw)
            slots, infos, addends = words[0::3], words[1::3], words[2::3]
            _check_slots(loaded, slots)
            self._pointers.update(
                {
                    slot + base: (addend + base) & _WORD
                    for slot, info, addend in zip(slots, infos, addends, strict=True)
                    if info == R_RELATIVE
                }
            )
            for slot, info, addend in zip(slots, infos, addends, strict=True):
                if info == R_RELATIVE:
                    continue
                kind, symbol = info & 0xFFFFFFFF, info >> 32
                relocation = _Relocation(slot + base, kind, symbol, addend)
                if symbol == 0 or kind not in _WANTED:
                    self._apply_unnamed(loaded, relocation)
                    continue
                key = (symbol, _WANTED[kind])
                if key not in targets:
                    targets[key] = self._target(loaded, symbol, _WANTED[kind])
                self._apply(loaded, relocation, targets[key])

    def check_versions(self) -> None:
        """Note versions that are asked of a library that defines others; glibc 2.36, elf/dl-version.c."""
        objects = self._closure.objects if self._closure.loader == GLIBC else ()
        by_name = {name: loaded for loaded in reversed(objects) for name in loaded.names}
        for loaded in objects:
            for required in loaded.symbols.versions.required:
                definer = by_name.get(required.file)
                defined = definer.symbols.versions.defined if definer is not None else None
                if definer is None or defined is None or required.weak or required.name in defined:
                    continue
                line = f"version {required.name} not in {definer.path} (required by {loaded.path})"
                if self._closure.local_scopes[loaded.index]:
                    self._refused.setdefault(loaded.index, line)
                else:
                    self.lacking.append(line)

    def _target(self, loaded: LoadedObject, symbol: int, wanted: int) -> _Target:
        table = loaded.symbols
        name, version = table.names[symbol].decode("utf-8", "replace"), table.versions.of(symbol)
        version_name = version.name if version is not None else ""
        found = self._lookup.bind(loaded, symbol, wanted)
        if found is None:
            return _Target(Binding(name, version_name, loaded.index, 0), found=False, indirect=False, size=0)
        definer = self._closure.objects[found.definer]
        own = definer.symbols
        return _Target(
            Binding(name, version_name, found.definer, definer.address(found.symbol)),
            found=True,
            indirect=own.type(found.symbol) == STT_GNU_IFUNC and own.sections[found.symbol] != SHN_UNDEF,
            size=own.sizes[found.symbol],
        )

    def _apply(self, loaded: LoadedObject, relocation: _Relocation, target: _Target) -> None:
        """Apply a relocation that names a symbol."""
        slot, kind, _, addend = relocation
        if kind in _TLS:
            self._note_tls(kind, slot)
        elif kind in (R_GLOB_DAT, R_JUMP_SLOT):
            self._bound.add(slot)
        if not target.found:
            self._apply_undefined(loaded, relocation, target.binding)
            return
        self._bindings[slot] = target.binding
        if kind in _ADDRESS:
            if target.indirect:
                self._resolvers[slot] = target.binding.address
            else:
                self._pointers[slot] = (target.binding.address + addend) & _WORD
        elif kind == R_SIZE64:
            self._pointers[slot] = (target.size + addend) & _WORD
        elif kind == R_COPY:
            self._copy(loaded, relocation, target)

    def _apply_unnamed(self, loaded: LoadedObject, relocation: _Relocation) -> None:
        """Apply a relocation without a symbol: it means the object itself."""
        slot, kind, symbol, addend = relocation
        base = loaded.image.base
        if kind == R_NONE:
            return
        if kind == R_IRELATIVE:
            self._resolvers[slot] = (addend + base) & _WORD
            self._bound.add(slot)
        elif kind == R_RELATIVE:
            self._pointers[slot] = (addend + base) & _WORD
        elif symbol == 0 and kind in _TLS:
            self._note_tls(kind, slot)
        elif symbol == 0 and kind in _ADDRESS:
            # glibc takes symbol 0 for a local one at the start of the object; musl takes it for none.
            self._pointers[slot] = (addend + (base if self._closure.loader == GLIBC else 0)) & _WORD
        else:
            found = f"type {kind}" if kind not in _WANTED else f"type {kind} without a symbol"
            raise UnsupportedElfError(
                f"{loaded.path}: relocation at {slot - base:#x}", found, "one that the loader applies", PSABI
            )

    def _apply_undefined(self, loaded: LoadedObject, relocation: _Relocation, binding: Binding) -> None:
        slot, kind, symbol, addend = relocation
        if loaded.symbols.binding(symbol) == STB_WEAK:
            if kind in _ADDRESS or kind == R_SIZE64:
                self._pointers[slot] = addend & _WORD
            return
        undefined = UndefinedSymbol(binding.symbol, binding.version, loaded.index, slot)
        if kind == R_JUMP_SLOT and self._closure.loader == GLIBC and not loaded.dynamic.bind_now:
            self._lazy.append(undefined)
        elif self._closure.local_scopes[loaded.index]:
            self._refused.setdefault(loaded.index, str(undefined))
        else:
            self.fatal.append(undefined)

    def _note_tls(self, kind: int, slot: int) -> None:
        if kind == R_TLSDESC:
            self._tls_descriptors.add(slot)
        else:
            self._tls.add(slot)

    def _copy(self, loaded: LoadedObject, relocation: _Relocation, target: _Target) -> None:
        """Copy an object of a library into the program, with the pointers that it holds by now."""
        destination, source = relocation.slot, target.binding.address
        size = min(target.size, loaded.symbols.sizes[relocation.symbol])
        definer = self._closure.objects[target.binding.definer]
        for owner, address in ((loaded, destination), (definer, source)):
            if not any(s.address <= address and address + size <= s.end for s in owner.image.segments):
                found = f"{size} bytes at {address - owner.image.base:#x}"
                raise MalformedElfError(f"{owner.path}: R_X86_64_COPY", found, "mapped bytes", PSABI)
        self._copies.append((destination, source, size))
        for written in (self._pointers, self._resolvers):
            inside: Iterable[int] = range(source, source + size - 7)
            if size > len(written):
                inside = [slot for slot in written if source <= slot <= source + size - 8]
            for slot in inside:
                if slot in written:
                    written[slot - source + destination] = written[slot]


def _own_relocations(program: LoadedObject) -> Linkage:
    """Return the relocations of a static program, which applies them itself."""
    own = relocations(program.image)
    none: frozenset[int] = frozenset()
    return Linkage(own.pointers, own.resolvers, (), {}, frozenset(own.resolvers), none, none, (), {})


def _relocation_order(closure: Closure) -> list[LoadedObject]:
    """Return the objects as they are relocated: the last one mapped first, at the start, then per module."""
    order: list[LoadedObject] = []
    for _, group in groupby(closure.objects, key=lambda loaded: closure.local_scopes[loaded.index]):
        order += reversed(list(group))
    return order


def _check_slots(loaded: LoadedObject, slots: tuple[int, ...]) -> None:
    segments, base = loaded.image.segments, loaded.image.base
    if slots and (min(slots) + base < segments[0].address or max(slots) + base + 8 > segments[-1].end):
        found = f"slots {min(slots):#x} to {max(slots):#x}"
        raise MalformedElfError(f"{loaded.path}: relocations", found, "slots inside the object", PSABI)
