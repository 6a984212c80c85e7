"""
Which values may stand in a policy file?

Readers: each returns a typed value or raises `UnfitError` with what stood there and what may, and says the
same as a schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from attestation.policy_file import Checked, Reader, Schema, Section, UnfitError, show
from shim.canonical import JsonValue

T = TypeVar("T")
BitRules: TypeAlias = Mapping[str, Checked[bool]]
_BYTE = r"([0-9]{1,3})"
_VERSION = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}")
_ABI = re.compile(rf"{_BYTE}\.{_BYTE}")


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

    return Reader(read, {"enum": list(names)})


def some_of(*names: str) -> Reader[frozenset[str]]:
    """Read an array with at least one of `names`."""
    return _array(one_of(*names))


def _bit(value: object) -> bool:
    return one_of("set", "clear").read(value) == "set"


def _clear_bit(value: object) -> bool:
    return one_of("clear").read(value) == "set"


bit: Final = Reader(_bit, one_of("set", "clear").schema)
"""Read what a bit must be."""

clear_bit: Final = Reader(_clear_bit, one_of("clear").schema)
"""Read what a bit without a known meaning may be."""


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

    return Reader(read, {"type": "integer", "minimum": low, "maximum": high})


def hexadecimal(*sizes: int) -> Reader[bytes]:
    """Read hexadecimal digits for one of `sizes` bytes."""

    def read(value: object) -> bytes:
        want = f"{' or '.join(str(2 * size) for size in sizes)} hexadecimal digits"
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]*", value):
            raise UnfitError(show(value), want)
        if len(value) not in {2 * size for size in sizes}:
            raise UnfitError(f"{len(value)} digits", want)
        return bytes.fromhex(value)

    lengths = "|".join(f"[0-9a-fA-F]{{{2 * size}}}" for size in sizes)
    return Reader(read, {"type": "string", "pattern": f"^({lengths})$"})


mask: Final = integer(0, (1 << 63) - 1)
"""Read a bit mask of 64 bits, written as an integer (TOML has 0x)."""


def nonempty(reader: Reader[bytes]) -> Reader[frozenset[bytes]]:
    """Read an array with at least one value for `reader`, or a table of it as `digest` and a `label`."""

    def read(value: object) -> frozenset[bytes]:
        return frozenset(reader.read(_without_label(item)) for item in _items(value))

    labelled = _closed({"digest": reader.schema, "label": {"type": "string"}})
    return Reader(read, _from_file({"anyOf": [reader.schema, labelled]}))


def integers(low: int, high: int, **names: int) -> Reader[frozenset[int]]:
    """Read an array with at least one integer of `low` to `high`, or one of `names` for another number."""
    number = integer(low, high)

    def read(value: object) -> int:
        if isinstance(value, str) and value in names:
            return names[value]
        try:
            return number.read(value)
        except UnfitError as error:
            raise UnfitError(
                error.found, " or ".join((error.want, *(f'"{name}"' for name in names)))
            ) from error

    either: Schema = {"anyOf": [number.schema, {"enum": list(names)}]}
    return _array(Reader(read, either if names else number.schema))


def _strings(value: object) -> frozenset[str]:
    items = _items(value)
    if not all(isinstance(item, str) for item in items):
        raise UnfitError(show(value), "an array of strings")
    return frozenset(str(item) for item in items)


strings: Final = Reader(_strings, {"type": "array", "minItems": 1, "items": {"type": "string"}})
"""Read an array with at least one string."""


def reference_values(*sizes: int) -> Reader[tuple[ReferenceValue, ...]]:
    """Read an array with at least one table of `digest` (of one of `sizes` bytes) and `label`."""
    digest = hexadecimal(*sizes)

    def read(value: object) -> tuple[ReferenceValue, ...]:
        if value == "unchecked":
            raise UnfitError(show(value), "reference values: nothing else covers what was booted")
        return tuple(_reference_value(item, digest) for item in _items(value))

    return Reader(read, _from_file(_closed({"digest": digest.schema, "label": {"type": "string"}})))


def components(names: Iterable[str]) -> Reader[Mapping[str, int]]:
    """Read a table that gives each of `names` a minimum of 0 to 255, and nothing else."""
    wanted = tuple(names)
    minimum = integer(0, 255)

    def read(value: object) -> Mapping[str, int]:
        if not isinstance(value, dict) or set(value) != set(wanted):
            raise UnfitError(show(value), f"a table of {', '.join(wanted)}")
        return {name: minimum.read(value[name]) for name in wanted}

    return Reader(read, _closed(dict.fromkeys(wanted, minimum.schema)))


def _version(value: object) -> tuple[int, int, int]:
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(int(part) > 255 for part in match.groups()):
        raise UnfitError(show(value), '"major.minor.build", each 0 to 255')
    major, minor, build = (int(part) for part in match.groups())
    return major, minor, build


def _abi(value: object) -> tuple[int, int]:
    match = _ABI.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(int(part) > 255 for part in match.groups()):
        raise UnfitError(show(value), '"major.minor", each 0 to 255')
    return int(match[1]), int(match[2])


version: Final = Reader(_version, {"type": "string", "pattern": rf"^{_VERSION.pattern}$"})
"""Read a firmware version, "major.minor.build"."""

abi: Final = Reader(_abi, {"type": "string", "pattern": rf"^{_ABI.pattern}$"})
"""Read an ABI version, "major.minor"."""


def _reference_value(item: object, digest: Reader[bytes]) -> ReferenceValue:
    if not isinstance(item, dict) or set(item) != {"digest", "label"} or not isinstance(item["label"], str):
        raise UnfitError(show(item), "a table of digest and label")
    return ReferenceValue(digest.read(item["digest"]), item["label"])


def _array(reader: Reader[T]) -> Reader[frozenset[T]]:
    def read(value: object) -> frozenset[T]:
        return frozenset(reader.read(item) for item in _items(value))

    return Reader(read, {"type": "array", "minItems": 1, "items": reader.schema})


def _without_label(item: object) -> object:
    return item["digest"] if isinstance(item, dict) and set(item) == {"digest", "label"} else item


def _items(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        raise UnfitError(show(value), "an array that is not empty")
    return value


def _from_file(item: Schema) -> Schema:
    """Return what an array of such items may be, or the name of a file that has them."""
    name: JsonValue = {"type": "string"}
    named: JsonValue = {
        "type": "object",
        "properties": {"file": name, "key": name, "select": {"type": "object"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "array", "minItems": 1, "items": item}, named]}


def _closed(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
