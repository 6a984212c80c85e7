"""
What is known once every reference is bound and every relocation applied?

Only the types; `link` fills them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shim.errors import BinaryError

# How many of the missing symbols an error names in its text; all are in its attributes.
MAX_NAMED = 20


class Binding(NamedTuple):
    """
    A reference that was bound: `address` of the definition in `Closure.objects[definer]`.

    `version` is "" where the reference has none. Of an indirect function, `address` is its resolver; of a
    thread-local variable, its offset in the TLS block of its object.
    """

    symbol: str
    version: str
    definer: int
    address: int


@dataclass(frozen=True, slots=True)
class UndefinedSymbol:
    """A reference of `Closure.objects[referrer]` at `slot` that nobody defines."""

    symbol: str
    version: str
    referrer: int
    slot: int

    def __str__(self) -> str:
        return f"undefined symbol {self.symbol}" + (f"@{self.version}" if self.version else "")


@dataclass(frozen=True, slots=True)
class Linkage:
    """
    Memory after relocation, over all objects.

    Attributes:
        pointers: Address of an 8-byte slot -> the value written there; 0 for an undefined weak symbol.
        resolvers: Slot -> the resolver whose result is written there (IRELATIVE, STT_GNU_IFUNC).
        copies: (destination, source, size in bytes) of every R_X86_64_COPY; pointers inside the source are in
            `pointers` and `resolvers` at the destination too.
        bindings: Slot -> what the symbol of its relocation was bound to.
        bound: Slots of GLOB_DAT, JUMP_SLOT and IRELATIVE relocations: only the loader writes them.
        tls: Slots that hold a TLS module number or offset; they are not in `pointers`.
        tls_descriptors: Slots of TLS descriptors: 16 bytes, the first 8 the address of a function of the
            loader.
        undefined: References that fail only when they are used (lazy binding).
        refused: Index of a module -> why dlopen of it fails; what of it could be bound is in the rest.
    """

    pointers: dict[int, int]
    resolvers: dict[int, int]
    copies: tuple[tuple[int, int, int], ...]
    bindings: dict[int, Binding]
    bound: frozenset[int]
    tls: frozenset[int]
    tls_descriptors: frozenset[int]
    undefined: tuple[UndefinedSymbol, ...]
    refused: dict[int, str]


class UnboundError(BinaryError):
    """
    References that make the loader refuse to start the program.

    Attributes:
        symbols: The symbols that nobody defines.
        versions: One line per version that a library lacks.
    """

    def __init__(self, program: str, symbols: tuple[UndefinedSymbol, ...], versions: tuple[str, ...]) -> None:
        self.symbols = symbols
        self.versions = versions
        missing = [*sorted({str(symbol) for symbol in symbols}), *versions]
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        super().__init__(
            program, ", ".join(missing[:MAX_NAMED]) + more, "a definition for every reference", "ld.so(8)"
        )
