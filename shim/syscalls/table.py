"""
Which number has which name, on one architecture and up to one kernel version?

A table is a value.  A number outside it is not an error of the table: newer kernels have more.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shim.errors import ProfileError

NUMBER_SPACE = 2**32
"""Syscall numbers are compared as unsigned 32-bit values, so that -1 is the highest of them."""


class UnknownSyscallError(ProfileError):
    """
    A syscall name or number that the table does not have.

    Attributes:
        suggestions: Names that look alike, best first; empty for numbers.
    """

    def __init__(self, where: str, found: str, arch: str, kernel: str, suggestions: tuple[str, ...]) -> None:
        self.suggestions = suggestions
        near = f", perhaps {' or '.join(suggestions)}" if suggestions else ""
        super().__init__(where, found, f"a syscall of {arch}{near}", f"Linux {kernel}")


@dataclass(frozen=True, slots=True)
class SyscallTable:
    """
    The syscalls of one architecture.

    Attributes:
        arch: The name that profiles use.
        kernel: The kernel version up to which the table is complete.
        audit_arch: What the kernel puts into `seccomp_data.arch` for this architecture.
        foreign_from: The first number that belongs to another ABI sharing `audit_arch` (x32 on x86_64);
            `NUMBER_SPACE` where there is none.
        numbers: Name to number.
        names: Number to name.
    """

    arch: str
    kernel: str
    audit_arch: int
    foreign_from: int
    numbers: Mapping[str, int] = field(hash=False)
    names: Mapping[int, str] = field(hash=False)

    @classmethod
    def of(
        cls,
        arch: str,
        kernel: str,
        numbers: Mapping[str, int],
        *,
        audit_arch: int,
        foreign_from: int = NUMBER_SPACE,
    ) -> SyscallTable:
        """
        Return the table that holds `numbers`.

        Raises:
            ValueError: two names share a number, or a number lies outside [0, foreign_from).
        """
        names = {number: name for name, number in numbers.items()}
        if len(names) != len(numbers):
            raise ValueError("two syscall names share a number")
        if not all(0 <= number < foreign_from for number in names):
            raise ValueError("a syscall number lies outside the architecture's own range")
        ordered = dict(sorted(names.items()))
        return cls(
            arch=arch,
            kernel=kernel,
            audit_arch=audit_arch,
            foreign_from=foreign_from,
            numbers=MappingProxyType({name: number for number, name in ordered.items()}),
            names=MappingProxyType(ordered),
        )

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers, ascending."""
        return iter(self.names)

    def __contains__(self, number: object) -> bool:
        """Tell whether the table has `number`."""
        return number in self.names

    @property
    def highest(self) -> int:
        """The highest number the table has."""
        return max(self.names)

    def number(self, name: str, where: str = "syscall") -> int:
        """
        Return the number of `name`.

        Raises:
            UnknownSyscallError: no such name; it carries the nearest ones.
        """
        if name not in self.numbers:
            suggestions = tuple(difflib.get_close_matches(name, self.numbers, n=2, cutoff=0.7))
            raise UnknownSyscallError(where, f"{name!r}", self.arch, self.kernel, suggestions)
        return self.numbers[name]

    def name(self, number: int, where: str = "syscall") -> str:
        """
        Return the name of `number`.

        Raises:
            UnknownSyscallError: no such number.
        """
        if number not in self.names:
            raise UnknownSyscallError(where, f"number {number}", self.arch, self.kernel, ())
        return self.names[number]
