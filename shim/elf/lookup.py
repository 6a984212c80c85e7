"""
Which definition does the loader choose for a reference?

The rules of glibc's `do_lookup_x` and of musl's `find_sym`, on tables that were read before.
"""

from __future__ import annotations

from typing import NamedTuple

from shim.elf.dynsym import (
    STB_GLOBAL,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    STV_DEFAULT,
    STV_HIDDEN,
    STV_INTERNAL,
    STV_PROTECTED,
    DynamicSymbols,
)
from shim.elf.loaded import MUSL, Closure, LoadedObject
from shim.elf.symbols import SHN_UNDEF, STT_GNU_IFUNC, STT_TLS
from shim.elf.versions import HIDDEN, INDEX, Version

# What a relocation wants of a definition (glibc 2.36, ELF_RTYPE_CLASS_*): any address, a real function, or
# the original of an object that the program has a copy of.
ANY, FUNCTION, ORIGINAL = 0, 1, 2
NOT_FOUND = -1


class Definition(NamedTuple):
    """Symbol `symbol` of `Closure.objects[definer]`."""

    definer: int
    symbol: int


class Lookup:
    """
    The loader's symbol lookup over the objects of one closure.

    It remembers what it has found, and which definition of a STB_GNU_UNIQUE symbol came first: references
    have to be asked for in the loader's order.
    """

    def __init__(self, closure: Closure) -> None:
        self._objects = closure.objects
        self._musl = closure.loader == MUSL
        self._scopes: list[tuple[int, ...]] = []
        self._scope_of: list[int] = []
        for loaded, local in zip(closure.objects, closure.local_scopes, strict=True):
            scope = closure.global_scope + tuple(i for i in local if i not in closure.global_scope)
            if loaded.dynamic.symbolic and loaded.index and not self._musl:
                scope = (loaded.index, *scope)
            if scope not in self._scopes:
                self._scopes.append(scope)
            self._scope_of.append(self._scopes.index(scope))
        self._match = _match_musl if self._musl else match
        self._first = [loaded.symbols.first for loaded in closure.objects]
        self._unique: dict[bytes, Definition] = {}
        self._known: dict[tuple[bytes, Version | None, int, int], Definition | None] = {}

    def bind(self, referrer: LoadedObject, symbol: int, wanted: int) -> Definition | None:
        """
        Return what symbol `symbol` of `referrer` is bound to, or None where nobody defines it.

        Source:
            glibc 2.36, elf/dl-lookup.c, _dl_lookup_symbol_x (before 2.30 the loader also insisted on the
            library that the version is asked of); musl 1.2.5, ldso/dynlink.c, do_relocs.
        """
        table = referrer.symbols
        own = Definition(referrer.index, symbol)
        visibility = STV_DEFAULT if self._musl else table.visibility(symbol)
        if table.binding(symbol) == STB_LOCAL or visibility in (STV_HIDDEN, STV_INTERNAL):
            return own
        name, version = table.names[symbol], None if self._musl else table.versions.of(symbol)
        scope = self._scope_of[referrer.index]
        found = self._find(name, version, scope, wanted, own)
        if found is not None and visibility == STV_PROTECTED:
            # A function of the program may stand in for its address, so that pointers to it compare equal.
            real = found if wanted == FUNCTION else self._find(name, version, scope, FUNCTION, own)
            if real is not None and real.definer != referrer.index:
                return own
        return found

    def find(self, name: bytes, version: Version | None = None, scope_of: int = 0) -> Definition | None:
        """Return what `name` means to the object at index `scope_of`, or None where nobody defines it."""
        return self._find(name, version, self._scope_of[scope_of], ANY, None)

    def _find(
        self, name: bytes, version: Version | None, scope: int, wanted: int, reference: Definition | None
    ) -> Definition | None:
        key = (name, version, scope, wanted)
        if key in self._known:
            return self._known[key]
        found = self._known[key] = self._search(name, version, scope, wanted, reference)
        return found

    def _search(
        self, name: bytes, version: Version | None, scope: int, wanted: int, reference: Definition | None
    ) -> Definition | None:
        for index in self._scopes[scope]:
            if name not in self._first[index] or (wanted == ORIGINAL and index == 0):
                continue
            table = self._objects[index].symbols
            symbol = self._match(table, name, version, defined=wanted == FUNCTION)
            if symbol == NOT_FOUND:
                continue
            if not self._musl and table.visibility(symbol) in (STV_HIDDEN, STV_INTERNAL):
                continue
            found = Definition(index, symbol)
            binding = table.binding(symbol)
            if binding == STB_GNU_UNIQUE and not self._musl:
                return self._unique_definition(name, found, wanted, reference)
            if binding in (STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE):
                return found
        return None

    def _unique_definition(
        self, name: bytes, found: Definition, wanted: int, reference: Definition | None
    ) -> Definition:
        """Return the one definition of the process; glibc 2.36, elf/dl-lookup.c, do_lookup_unique."""
        if wanted == ORIGINAL:
            if reference is not None:
                self._unique.setdefault(name, reference)
            return found
        return self._unique.setdefault(name, found)


def match(
    table: DynamicSymbols, name: bytes, version: Version | None, *, defined: bool, newest: bool = False
) -> int:
    """
    Return the index of the symbol that satisfies a reference by glibc's rules, or NOT_FOUND.

    Args:
        table: The symbols of one object.
        name: What is asked for.
        version: The version asked for, None for any.
        defined: Whether an undefined symbol with a value (a function of the program that stands in for
            another) does not count.
        newest: Whether to look as dlsym does: the default version, not the oldest.

    Source:
        glibc 2.36, elf/dl-lookup.c, check_match and do_lookup_x.
    """
    versions = table.versions
    defaults: list[int] = []
    for symbol in table.findable(name):
        if defined and table.sections[symbol] == SHN_UNDEF:
            continue
        if versions.indices is None:
            return symbol
        index = versions.indices[symbol]
        if version is not None:
            own = versions.meanings.get(index & INDEX)
            if own is None:
                if not version.hidden and not index & HIDDEN:
                    return symbol
            elif own.name == version.name:
                return symbol
        elif index & INDEX < (2 if newest else 3):
            return symbol
        elif not index & HIDDEN:
            defaults.append(symbol)
    return defaults[0] if len(defaults) == 1 else NOT_FOUND


def _match_musl(table: DynamicSymbols, name: bytes, _version: Version | None, *, defined: bool) -> int:
    """Return the index of the symbol by musl's rules: the first that is not of a hidden version."""
    indices = table.versions.indices
    for symbol in table.findable(name):
        if indices is not None and indices[symbol] & HIDDEN:
            continue
        kind = table.type(symbol)
        if (defined and table.sections[symbol] == SHN_UNDEF) or kind == STT_GNU_IFUNC:
            return NOT_FOUND
        return symbol if table.values[symbol] or kind == STT_TLS else NOT_FOUND
    return NOT_FOUND
