"""
What a program may ask of the kernel: the type that every other package exchanges.

A profile is a value.  It is made by `shim.analysis` or read from JSON, and compiled by `shim.filter`;
nothing changes it in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA_VERSION = 1

Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "masked_eq"]
Arch = Literal["x86_64", "aarch64"]


@dataclass(frozen=True, slots=True, order=True)
class ArgumentCondition:
    """
    One comparison of one syscall argument, unsigned, on all 64 bits.

    `masked_eq` holds when `argument & mask == value`; `mask` is 2**64 - 1 for every other operator.
    """

    index: int
    operator: Operator
    value: int
    mask: int = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """
    One instruction that enters the kernel.

    `address` is the virtual address in the object's file, before the loader moves it; `object` is the path
    as given for the program and as found for a shared object.
    """

    object: str
    address: int
    function: str


@dataclass(frozen=True, slots=True)
class SyscallRule:
    """
    One allowed syscall and the reasons for it.

    `conditions` is a disjunction of conjunctions: the call is allowed if all conditions of at least one
    inner tuple hold; the empty outer tuple allows every argument.  `why` is the shortest call chain from a
    root to a site, outermost first; for calls that no instruction of the program issues it says who does.
    """

    number: int
    name: str
    conditions: tuple[tuple[ArgumentCondition, ...], ...] = ()
    sites: tuple[Site, ...] = ()
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """
    A stretch of the program's life and what it may call there, rules sorted by number.

    `boundary` is the address that starts the phase; None means the program's first instruction.
    """

    name: str
    boundary: int | None
    rules: tuple[SyscallRule, ...]


@dataclass(frozen=True, slots=True, order=True)
class UnresolvedSite:
    """A place whose effect the analysis could not bound, and why."""

    object: str
    address: int
    function: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnalysedObject:
    """One ELF file that the profile speaks of; `sha256` of the whole file, `build_id` hexadecimal or ""."""

    path: str
    sha256: str
    build_id: str


@dataclass(frozen=True, slots=True)
class Profile:
    """
    The syscall profile of one program.

    `objects[0]` is the program itself.  `complete` is true only if no site is unresolved and no site uses
    another ABI.  `foreign_abi` lists `int 0x80`, `sysenter` and x32 sites, which no x86-64 rule covers.
    """

    arch: Arch
    objects: tuple[AnalysedObject, ...]
    phases: tuple[Phase, ...]
    unresolved: tuple[UnresolvedSite, ...]
    foreign_abi: tuple[UnresolvedSite, ...]
    assumptions: tuple[str, ...]
    tool_version: str

    @property
    def complete(self) -> bool:
        """Whether every site that can enter the kernel is bounded by a rule."""
        return not self.unresolved and not self.foreign_abi

    @property
    def program(self) -> AnalysedObject:
        """The program itself, as opposed to the objects it loads."""
        return self.objects[0]
