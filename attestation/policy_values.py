"""
Which values may stand in a policy file?

Readers: each returns a typed value or raises `UnfitError` with what stood there and what may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from attestation.policy_file import Checked, Reader, Section, UnfitError, show

BitRules: TypeAlias = Mapping[str, Checked[bool]]
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_ABI = re.compile(r"(\d{1,3})\.(\d{1,3})")


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """One accepted digest, and the words that say what it is the digest of."""

    digest: bytes
    label: str


def one_of(*names: str) -> Reader[str]:
    """Read one of `names`."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise UnfitError(show(value), " or ".join(f'"{name}"' for name in names))
        return value

    return read


def some_of(*names: str) -> Reader[frozenset[str]]:
    """Read an array with at least one of `names`."""

    def read(value: object) -> frozenset[str]:
        return frozenset(one_of(*names)(item) for item in _items(value))

    return read


def bit(value: object) -> bool:
    """Read what a bit must be: "set" or "clear"."""
    return one_of("set", "clear")(value) == "set"


def clear_bit(value: object) -> bool:
    """Read what a bit without a known meaning may be: "clear"."""
    return one_of("clear")(value) == "set"


def bit_rules(section: Section, names: Iterable[str]) -> BitRules:
    """Take from a table what each of `names` must be, and whether bits without a name may be set."""
    rules = {name: section.take(name, bit) for name in names}
    return rules | {"reserved": section.take("reserved", clear_bit)}


def integer(low: int, high: int) -> Reader[int]:
    """Read an integer of `low` to `high`, both inclusive."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UnfitError(show(value), f"an integer of {low} to {high}")
        return value

    return read


def hexadecimal(*sizes: int) -> Reader[bytes]:
    """Read hexadecimal digits for one of `sizes` bytes."""

    def read(value: object) -> bytes:
        want = f"{' or '.join(str(2 * size) for size in sizes)} hexadecimal digits"
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]*", value):
            raise UnfitError(show(value), want)
        if len(value) not in {2 * size for size in sizes}:
            raise UnfitError(f"{len(value)} digits", want)
        return bytes.fromhex(value)

    return read


def mask(value: object) -> int:
    """Read a bit mask of 64 bits, written as an integer (TOML has 0x)."""
    return integer(0, (1 << 63) - 1)(value)


def nonempty(reader: Reader[bytes]) -> Reader[frozenset[bytes]]:
    """Read an array with at least one value for `reader`, or a table of it as `digest` and a `label`."""

    def read(value: object) -> frozenset[bytes]:
        return frozenset(reader(_without_label(item)) for item in _items(value))

    return read


def integers(low: int, high: int) -> Reader[frozenset[int]]:
    """Read an array with at least one integer of `low` to `high`."""

    def read(value: object) -> frozenset[int]:
        return frozenset(integer(low, high)(item) for item in _items(value))

    return read


def strings(value: object) -> frozenset[str]:
    """Read an array with at least one string."""
    items = _items(value)
    if not all(isinstance(item, str) for item in items):
        raise UnfitError(show(value), "an array of strings")
    return frozenset(str(item) for item in items)


def reference_values(*sizes: int) -> Reader[tuple[ReferenceValue, ...]]:
    """Read an array with at least one table of `digest` (of one of `sizes` bytes) and `label`."""

    def read(value: object) -> tuple[ReferenceValue, ...]:
        if value == "unchecked":
            raise UnfitError(show(value), "reference values: nothing else covers what was booted")
        return tuple(_reference_value(item, sizes) for item in _items(value))

    return read


def components(names: Iterable[str]) -> Reader[Mapping[str, int]]:
    """Read a table that gives each of `names` a minimum of 0 to 255, and nothing else."""
    wanted = tuple(names)

    def read(value: object) -> Mapping[str, int]:
        if not isinstance(value, dict) or set(value) != set(wanted):
            raise UnfitError(show(value), f"a table of {', '.join(wanted)}")
        return {name: integer(0, 255)(value[name]) for name in wanted}

    return read


def version(value: object) -> tuple[int, int, int]:
    """Read a firmware version, "major.minor.build"."""
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(int(part) > 255 for part in match.groups()):
        raise UnfitError(show(value), '"major.minor.build", each 0 to 255')
    major, minor, build = (int(part) for part in match.groups())
    return major, minor, build


def abi(value: object) -> tuple[int, int]:
    """Read an ABI version, "major.minor"."""
    match = _ABI.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(int(part) > 255 for part in match.groups()):
        raise UnfitError(show(value), '"major.minor", each 0 to 255')
    return int(match[1]), int(match[2])


def _reference_value(item: object, sizes: tuple[int, ...]) -> ReferenceValue:
    if not isinstance(item, dict) or set(item) != {"digest", "label"} or not isinstance(item["label"], str):
        raise UnfitError(show(item), "a table of digest and label")
    return ReferenceValue(hexadecimal(*sizes)(item["digest"]), item["label"])


def _without_label(item: object) -> object:
    return item["digest"] if isinstance(item, dict) and set(item) == {"digest", "label"} else item


def _items(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        raise UnfitError(show(value), "an array that is not empty")
    return value
