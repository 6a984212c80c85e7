"""
How is a policy file read, so that everything wrong with it is said at once?

A `Section` hands out the values of one TOML table, each through a reader that says what is accepted.  What a
reader does not accept, what is missing and what nobody asked for become problems with a line number; nothing
has a default.
"""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from attestation.errors import PolicyError, PolicyProblem
from shim.canonical import JsonValue

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Unchecked(enum.Enum):
    """The value of a field that the policy leaves unchecked, in so many words."""

    UNCHECKED = "unchecked"


UNCHECKED: Final = Unchecked.UNCHECKED
Checked: TypeAlias = T | Unchecked
Schema: TypeAlias = Mapping[str, JsonValue]

_NAME = r"""[A-Za-z0-9_\-"'][A-Za-z0-9_.\-"' \t]*"""
_TABLE = re.compile(rf"\[[ \t]*({_NAME})\]\s*(#.*)?$")
_KEY = re.compile(rf"({_NAME})=")
_DEEPEST = 16  # no policy needs half of it


class UnfitError(Exception):
    """A reader's way to say that a value is not one; it becomes a problem, and never leaves this module."""

    def __init__(self, found: str, want: str) -> None:
        self.found = found
        self.want = want
        super().__init__(found, want)


@dataclass(frozen=True, slots=True)
class Reader(Generic[T_co]):
    """
    What may stand for a key.

    Attributes:
        read: Returns the value of what stands there, or raises `UnfitError`.
        schema: The same as JSON Schema, draft 2020-12: it accepts whatever `read` does.
    """

    read: Callable[[object], T_co]
    schema: Schema


@dataclass(slots=True)
class Problems:
    """The problems of one file, and the names of what it leaves unchecked."""

    where: str
    lines: Mapping[str, int]
    found: list[PolicyProblem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, key: str, found: str, want: str) -> None:
        """Remember the first problem of a key, at its line or that of the nearest table around it."""
        if key in self.seen:
            return
        self.seen.add(key)
        place = key
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        self.found.append(PolicyProblem(self.lines.get(place, 1), key, found, want))

    def raise_if_any(self) -> None:
        """
        Raise everything that was found, in the order of the lines.

        Raises:
            PolicyError: there is at least one problem.
        """
        if self.found:
            raise PolicyError(self.where, tuple(sorted(self.found, key=lambda problem: problem.line)))


@dataclass(slots=True)
class Section:
    """One TOML table of a policy, whose keys are taken out one by one."""

    name: str
    values: Mapping[str, object] | None  # None when the table itself is missing, which is problem enough
    problems: Problems
    taken: set[str] = field(default_factory=set)

    def need(self, key: str, reader: Reader[T], instead: T) -> T:
        """Return the value of `key`, which cannot be unchecked; `instead` where there is a problem."""
        if self.values is None:
            return instead
        self.taken.add(key)
        if key not in self.values:
            self.problems.add(self._path(key), "nothing", "this key")
            return instead
        try:
            return reader.read(self.values[key])
        except UnfitError as unfit:
            self.problems.add(self._path(key), unfit.found, unfit.want)
            return instead

    def take(self, key: str, reader: Reader[T]) -> Checked[T]:
        """Return the value of `key`, or UNCHECKED when it says so."""
        if self.values is not None and self.values.get(key) == UNCHECKED.value:
            self.taken.add(key)
            self.problems.unchecked.append(self._path(key))
            return UNCHECKED
        instead: Checked[T] = UNCHECKED
        return self.need(key, _or_unchecked(reader), instead)

    def section(self, key: str) -> Section:
        """Return the table `key`; one that asks for nothing when there is a problem with it."""
        return Section(self._path(key), self.need(key, _TABLE_READER, None), self.problems)

    def take_section(self, key: str) -> Checked[Section]:
        """Return the table `key`, or UNCHECKED when it says so."""
        values = self.take(key, _TABLE_READER)
        return UNCHECKED if values is UNCHECKED else Section(self._path(key), values, self.problems)

    def optional_section(self, key: str) -> Section | None:
        """Return the table `key`, or None where there is none."""
        return self.section(key) if self.values is not None and key in self.values else None

    def close(self) -> None:
        """Report every key that nobody took."""
        for key in self.values or {}:
            if key not in self.taken:
                self.problems.add(self._path(key), "an unknown key", "no such key")

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def open_file(text: str, where: str) -> Section:
    """
    Return the top table of the policy in `text`.

    Raises:
        PolicyError: the text is not TOML, or its tables are nested deeper than any policy's.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python reads
        line = re.search(r"at line (\d+)", str(error))
        problem = PolicyProblem(int(line[1]) if line else 1, "TOML", str(error), "TOML 1.0")
        raise PolicyError(where, (problem,)) from error
    if _is_deeper(values, _DEEPEST):
        want = f"at most {_DEEPEST} levels"
        raise PolicyError(where, (PolicyProblem(1, "TOML", "tables that are nested deeper", want),))
    return Section("", values, Problems(where, locate(text)))


def locate(text: str) -> dict[str, int]:
    """Return the line, from 1, of each table and key of a TOML text, by its dotted name."""
    lines: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if header := _TABLE.match(line):
            prefix = _dotted(header[1])
            lines.setdefault(prefix, number)
        elif key := _KEY.match(line):
            name = _dotted(key[1])
            lines.setdefault(f"{prefix}.{name}" if prefix else name, number)
    return lines


def _is_deeper(value: object, levels: int) -> bool:
    """Whether tables and arrays stand in each other more than `levels` deep."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inside) and (levels == 0 or any(_is_deeper(one, levels - 1) for one in inside))


def _table(value: object) -> Mapping[str, object] | None:
    if not isinstance(value, dict) or not value:
        raise UnfitError(show(value), "a table with its keys")
    return value


_TABLE_READER = Reader(_table, {"type": "object", "minProperties": 1})


def show(value: object) -> str:
    """Return a value as it may stand in a message, at most 60 characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _or_unchecked(reader: Reader[T]) -> Reader[Checked[T]]:
    def read(value: object) -> Checked[T]:
        try:
            return reader.read(value)
        except UnfitError as unfit:
            raise UnfitError(unfit.found, f'{unfit.want}, or "unchecked"') from unfit

    return Reader(read, reader.schema)


def _dotted(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
