"""
How does a policy say that it accepts just what was seen?

The values that all kinds write alike, as they stand in a policy's text.
"""

from __future__ import annotations

from collections.abc import Mapping

from attestation import bits
from shim.canonical import JsonValue

UNCHECKED = "unchecked"
_LARGEST = (1 << 63) - 1  # that a TOML file can hold


def only(found: bytes | str | None) -> JsonValue:
    """Return the list with this alone; nothing is left unchecked."""
    if found is None:
        return UNCHECKED
    return [found.hex() if isinstance(found, bytes) else found]


def reference(found: bytes, label: str) -> JsonValue:
    """Return reference values with this alone."""
    return [{"digest": found.hex(), "label": label}]


class Mask(int):
    """A number whose bits are what counts."""


def mask(found: int | None) -> JsonValue:
    """Return a bit mask; one that TOML cannot hold is left unchecked."""
    return UNCHECKED if found is None or found > _LARGEST else Mask(found)


def bit_rules(section: str, value: int, names: Mapping[str, int], unnamed: int) -> dict[str, JsonValue]:
    """Return what each bit is; those without a name stay free where one is set."""
    rules: dict[str, JsonValue] = {
        f"{section}.{name}": state(is_set) for name, is_set in bits.flags(value, names).items()
    }
    return rules | {f"{section}.reserved": UNCHECKED if unnamed else "clear"}


def state(is_set: bool) -> str:  # noqa: FBT001  # the one fact that it is about
    """Return the word for a bit."""
    return "set" if is_set else "clear"
