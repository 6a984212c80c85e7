"""
Which functions of a program and its shared objects can run?

What an analysis found, in names: for those who ask about functions, not about system calls.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectFunctions:
    """
    The functions of one object.

    Attributes:
        path: Where the loader found it.
        sha256: Of the file.
        names: All functions that its tables name.
        live: Those of them with code that can run.
        copied: Those that the compiler may have copied into others; None where no table tells, as everywhere
            but in Go.
        nameless: Whether its tables may leave out functions that can run.
        any_live: Whether any of its code can run.
    """

    path: str
    sha256: str
    names: frozenset[str]
    live: frozenset[str]
    copied: frozenset[str] | None
    nameless: bool
    any_live: bool


@dataclass(frozen=True, slots=True)
class ExecutePath:
    """
    The functions of everything that is mapped for a program.

    Attributes:
        objects: The program first, then what the loader maps and what it can open.
        incomplete: Why it is not known of everything whether it can run, one line each; none if it is.
        assumptions: What it rests on, as a profile lists it.
    """

    objects: tuple[ObjectFunctions, ...]
    incomplete: tuple[str, ...]
    assumptions: tuple[str, ...]
