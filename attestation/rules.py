"""
What does a rule of a policy say to a value of the evidence?

The rules that every kind has; each yields its mismatch, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attestation import bits
from attestation.policy_file import UNCHECKED, Checked
from attestation.policy_values import BitRules, ReferenceValue
from attestation.result import Mismatch


def among(
    field: str, found: bytes | None, accepted: Checked[frozenset[bytes]], source: str
) -> Iterator[Mismatch]:
    """One of some values has to be there."""
    if accepted is not UNCHECKED and found not in accepted:
        want = " or ".join(sorted(value.hex() for value in accepted))
        yield Mismatch(field, "none" if found is None else found.hex(), want, source)


def measurement(
    field: str, found: bytes, accepted: tuple[ReferenceValue, ...], source: str
) -> Iterator[Mismatch]:
    """One of the reference values has to be there."""
    if label(found, accepted) is None:
        want = ", ".join(f"{value.digest.hex()} ({value.label})" for value in accepted)
        yield Mismatch(field, found.hex(), want, source)


def label(found: bytes | None, accepted: tuple[ReferenceValue, ...]) -> str | None:
    """Return the label of the reference value that a measurement is, or None when it is none of them."""
    return next((value.label for value in accepted if value.digest == found), None)


def named_bits(
    section: str, value: int, names: Mapping[str, int], rules: BitRules, source: str
) -> Iterator[Mismatch]:
    """Each bit with a name has to be as its rule says."""
    for name, is_set in bits.flags(value, names).items():
        rule = rules[name]
        if rule is not UNCHECKED and is_set is not rule:
            found = f"bit {names[name]} {state(is_set)}"
            yield Mismatch(f"{section}.{name}", found, state(rule), source)


def reserved_bits(section: str, unnamed: int, rules: BitRules, source: str) -> Iterator[Mismatch]:
    """Bits without a name have to be clear."""
    if rules["reserved"] is not UNCHECKED and unnamed:
        yield Mismatch(f"{section}.reserved", f"bits 0x{unnamed:x} set", "clear", source)


def state(is_set: bool) -> str:  # noqa: FBT001  # the one fact that it is about
    """Return the word for a bit."""
    return "set" if is_set else "clear"
