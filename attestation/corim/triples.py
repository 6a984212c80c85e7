"""
Which digests does a reference triple vouch for?

Of a measurement that says more than a digest and words, all has to fit: it is left out as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from uuid import UUID

from cbor2 import CBORTag

from attestation.corim import terms
from attestation.corim.terms import SOURCE, array, mapping
from attestation.errors import EvidenceFormatError
from attestation.reference_values import ALGORITHMS, UNKNOWN_KIND, Entry, environment

_READ = frozenset({terms.VERSION, terms.SECURITY_VERSION, terms.DIGESTS, terms.NAME, terms.REGISTERS})
_NO_NAME = re.compile(r"[^a-z0-9_.:-]")
_LONGEST = 128
_KINDS = {names: tee for tee, names in terms.CLASSES.items()}


class LeftOutError(Exception):
    """Why a triple or a measurement is not read; never leaves this package."""


def entries(triple: object, where: str) -> Iterator[Entry | str]:
    """
    Yield the values of one triple, and in words what it has besides.

    Raises:
        EvidenceFormatError: it is no triple.

    Source:
        draft-ietf-rats-corim-10, section 5, "Reference Values Triple".
    """
    record = array(triple, where, 2)
    try:
        tee, decides = _environment(record[0], where)
    except LeftOutError as reason:
        yield f"{where}: {reason}"
        return
    for place, measurement in enumerate(array(record[1], where)):
        try:
            yield from _measurement(measurement, f"{where}[{place}]", tee, decides)
        except LeftOutError as reason:
            yield f"{where}[{place}]: {reason}"


def _environment(value: object, where: str) -> tuple[str, dict[str, str | int]]:
    """Return the kind of evidence that is meant, and what else decides it."""
    found = mapping(value, where)
    if set(found) != {terms.CLASS}:
        raise LeftOutError("about a single instance or a group")
    described = mapping(found[terms.CLASS], where, frozenset(range(5)))
    vendor, model = described.get(terms.VENDOR), described.get(terms.MODEL)
    identifier = described.get(terms.CLASS_ID)
    tee = _KINDS.get((str(vendor), str(model)))
    if tee is not None:
        if terms.LAYER in described or terms.INDEX in described:
            raise LeftOutError("about one layer, or one of several")
        return tee, _ours(identifier, where)
    named = {
        "vendor": vendor,
        "model": model,
        "layer": described.get(terms.LAYER),
        "index": described.get(terms.INDEX),
    }
    decides = {name: _short(part) for name, part in named.items() if part is not None}
    return UNKNOWN_KIND, decides if identifier is None else {**decides, "class_id": _shown(identifier)}


def _ours(identifier: object, where: str) -> dict[str, str | int]:
    """An environment as `writing` has it: the class is identified by JSON."""
    if identifier is None:
        return {}
    if not isinstance(identifier, CBORTag) or not isinstance(identifier.value, bytes):
        return {"class_id": _shown(identifier)}
    try:
        members = json.loads(identifier.value)
    except (ValueError, RecursionError):
        return {"class_id": _shown(identifier)}
    if not isinstance(members, dict):
        return {"class_id": _shown(identifier)}
    return dict(environment(members, where))


def _measurement(
    value: object, where: str, tee: str, decides: Mapping[str, str | int]
) -> Iterator[Entry | str]:
    found = mapping(value, where)
    if not set(found) <= {terms.KEY, terms.VALUES}:
        raise LeftOutError("only with the authority of a key")
    values = mapping(found.get(terms.VALUES), where)
    register = _shown(found[terms.KEY]) if terms.KEY in found else "measurement"
    if not {terms.DIGESTS, terms.REGISTERS} & set(values):
        raise LeftOutError("no digest")
    if set(values) - _READ:
        more = ", ".join(sorted(str(name)[:40] for name in set(values) - _READ))
        raise LeftOutError(f"more than a digest: values {more}")
    stated = {**decides, **_stated(values, where)}
    label = values.get(terms.NAME, register)
    if not isinstance(label, str) or not 0 < len(label) <= 256:
        raise EvidenceFormatError(where, "name", repr(label)[:80], "1 to 256 characters", SOURCE)
    registers: dict[str, object] = {}
    if terms.DIGESTS in values:
        registers[register] = values[terms.DIGESTS]
    if terms.REGISTERS in values:
        registers |= {
            _shown(name): digests for name, digests in mapping(values[terms.REGISTERS], where).items()
        }
    for name, digests in registers.items():
        for digest in array(digests, where):
            yield _entry(digest, where, tee, name, label, stated)


def _entry(
    digest: object, where: str, tee: str, register: str, label: str, decides: Mapping[str, str | int]
) -> Entry | str:
    """A digest of an algorithm that is not known is no reason to refuse the others."""
    algorithm, value = array(digest, where, 2)
    name = terms.ALGORITHMS.get(algorithm) if isinstance(algorithm, int) else algorithm
    if not isinstance(value, bytes):
        raise EvidenceFormatError(where, "digest", type(value).__name__, "bytes", SOURCE)
    if not isinstance(name, str) or name not in ALGORITHMS:
        return f"{where}: a digest of algorithm {str(algorithm)[:40]}"
    if len(value) != ALGORITHMS[name]:
        raise EvidenceFormatError(where, "digest", f"{len(value)} bytes", f"{ALGORITHMS[name]} bytes", SOURCE)
    return Entry(tee, register, name, value, label, decides)


def _stated(values: Mapping[object, object], where: str) -> dict[str, str | int]:
    """Version and security version of what has the digest: words about it, no further condition."""
    found: dict[str, str | int] = {}
    if terms.VERSION in values:
        version = mapping(values[terms.VERSION], where, frozenset({0, 1})).get(0)
        if not isinstance(version, str):
            raise EvidenceFormatError(where, "version", repr(version)[:80], "text", SOURCE)
        found["version"] = version[:256]
    if terms.SECURITY_VERSION in values:
        number = values[terms.SECURITY_VERSION]
        if isinstance(number, CBORTag) and number.tag in {terms.SVN, terms.MINIMUM_SVN}:
            number = number.value
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 53:
            raise EvidenceFormatError(where, "svn", repr(number)[:80], "a number", SOURCE)
        found["svn"] = number
    return found


def _short(value: object) -> str | int:
    """Return a number as it is, where JSON has such numbers, and everything else in words."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return value
    return str(value)[:_LONGEST]


def _shown(value: object) -> str:
    """Return the name of a register or class, in the letters that such names have here."""
    text = type(value).__name__
    if isinstance(value, CBORTag) and isinstance(value.value, bytes):
        text = f"oid:{value.value.hex()}" if value.tag == terms.OID else value.value.hex()
    elif isinstance(value, UUID | int | str):
        text = str(value)
    found = _NO_NAME.sub("_", text.lower())[:_LONGEST]
    # What does not begin as names do becomes another name, never that of another register.
    return found if found[:1].isalnum() else f"x{found}"[:_LONGEST]
