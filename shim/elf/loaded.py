"""
What is a process made of once everything is mapped: objects, and the scopes in which names mean something?

Only the types; `closure` fills them.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.elf.dynamic import Dynamic
from shim.elf.dynsym import SHN_ABS, DynamicSymbols
from shim.elf.image import LOAD_BASE, ElfImage
from shim.elf.symbols import STT_TLS

GLIBC, MUSL = "glibc", "musl"
# Room for one object: addresses tell which object they lie in.
STRIDE = 1 << 32


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """
    One ELF file in the address space of the process.

    `path` is the name under which the loader finds it; `soname` its DT_SONAME, or ""; `names` every name by
    which the loader knows it; `image` is parsed at the base address that is its own; `needed` are the indices
    in `Closure.objects` of what its DT_NEEDED name, in their order.
    """

    index: int
    path: str
    soname: str
    names: frozenset[str]
    image: ElfImage
    dynamic: Dynamic
    symbols: DynamicSymbols
    needed: tuple[int, ...]

    def address(self, symbol: int) -> int:
        """Return the value of a symbol in memory; of a thread-local variable, its offset in the TLS block."""
        value = self.symbols.values[symbol]
        if self.symbols.sections[symbol] == SHN_ABS or self.symbols.type(symbol) == STT_TLS:
            return value
        return (value + self.image.base) & ((1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class Closure:
    """
    Everything that is mapped when the program starts, and the modules that were asked for.

    Attributes:
        objects: In the loader's breadth-first order, the program first; an interpreter that nobody needs by
            name comes after the libraries; modules and what only they need come last.
        global_scope: Indices of the objects in which every reference is looked up, in this order.
        local_scopes: For every object, the indices that are searched after the global scope; empty but for
            modules and what only they need.
        interpreter: Index of PT_INTERP's object; None for a static program.
        loader: "glibc" or "musl", whose rules were followed; "" for a static program.
        findings: What a user should know and the loader decides elsewhere, one line each.
    """

    objects: tuple[LoadedObject, ...]
    global_scope: tuple[int, ...]
    local_scopes: tuple[tuple[int, ...], ...]
    interpreter: int | None
    loader: str
    findings: tuple[str, ...]


def base_of(index: int) -> int:
    """Return the base address of the position-independent object at `index` of a closure."""
    return LOAD_BASE + index * STRIDE
