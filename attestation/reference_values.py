"""
Which measurements does somebody who built or released software vouch for?

Reference values (RFC 9334, section 8.3) as values, and their plain form in JSON.  `corim` reads and writes
the same in the form that supply chains exchange.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from attestation import json_document, kinds
from attestation.errors import AttestationError, EvidenceFormatError
from attestation.json_document import JsonObject
from shim.canonical import JsonValue, canonical_bytes
from shim.errors import FoundWantError

SCHEMA = "reference-values/1"
# By the name that the IANA registry "Named Information Hash Algorithm" gives it: bytes of a digest.
ALGORITHMS: Mapping[str, int] = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
UNKNOWN_KIND = "unknown"
MOST = 4096
_LONGEST = 256
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REGISTER = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,127}")


class ReferenceValueError(FoundWantError, AttestationError):
    """A file of reference values that cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One digest, and what it is the digest of.

    Attributes:
        tee: The kind of evidence that has it, one of `attestation.kinds.KINDS`, or "unknown".
        register: Where evidence has it, as policies call it: "measurement", "mr_td", "rtmr1", "pcr4", "rim".
        algorithm: One of `ALGORITHMS`.
        digest: The value.
        label: Words that say what it is the digest of.
        environment: What else decides it: "vmm", "vcpus", "vcpu_type", "firmware", "guest_features", ...
    """

    tee: str
    register: str
    algorithm: str
    digest: bytes
    label: str
    environment: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    The reference values of one file.

    Attributes:
        entries: In the order of the file.
        left_out: What stands in the file besides and was not read, each with its reason.
        profile: The rules by which the file wants to be read besides the common ones, or None.
        signer: Who signed it, as it says itself; None when nobody did.
        verified: Whether a key that was given made the signature.
        not_before, not_after: When it counts; None where it does not say.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    profile: str | None = None
    signer: str | None = None
    verified: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None


def parse(data: bytes, where: str) -> Manifest:
    """
    Return the reference values in the plain form.

    Raises:
        ReferenceValueError: not JSON, another schema, an unknown member, a digest of another size, the same
            value twice, or more than 4096.

    Not checked:
        That anybody vouches for them: the form has no signature.  That the kind has such a register.
    """
    try:
        document = json_document.read(data, where)
        _only(document, {"schema", "values"})
        if document.text("schema") != SCHEMA:
            raise document.wrong("schema", document.members["schema"], SCHEMA)
        entries = tuple(_entry(one) for one in document.parts("values"))
    except EvidenceFormatError as error:
        raise ReferenceValueError(error.where, error.found, error.want, error.source) from error
    return checked(Manifest(entries), where)


def write(entries: tuple[Entry, ...]) -> bytes:
    """Return the plain form, canonical JSON."""
    return canonical_bytes({"schema": SCHEMA, "values": [_value(entry) for entry in entries]})


def checked(manifest: Manifest, where: str) -> Manifest:
    """
    Return the manifest, which has no value twice and not too many.

    Raises:
        ReferenceValueError: it has.
    """
    if len(manifest.entries) > MOST:
        raise ReferenceValueError(where, f"{len(manifest.entries)} values", f"at most {MOST}")
    seen: set[bytes] = set()
    for entry in manifest.entries:
        text = canonical_bytes(_value(entry))
        if text in seen:
            raise ReferenceValueError(where, f"{entry.register} of {entry.label!r} twice", "each value once")
        seen.add(text)
    return manifest


def environment(members: Mapping[str, object], where: str) -> Mapping[str, str | int]:
    """
    Return what decides a value, from a JSON object.

    Raises:
        EvidenceFormatError: a name or a value that is none.
    """
    found: dict[str, str | int] = {}
    for name, value in members.items():
        number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
        if not _NAME.fullmatch(name) or not (number or (isinstance(value, str) and len(value) <= _LONGEST)):
            want = f"names of a-z, 0-9 and _, with text of at most {_LONGEST} characters or a number"
            raise EvidenceFormatError(where, "environment", f"{name} = {value!r}"[:80], want)
        found[name] = value if isinstance(value, str) else int(str(value))
    return found


def _entry(one: JsonObject) -> Entry:
    _only(one, {"tee", "register", "algorithm", "digest", "label", "environment"})
    algorithm = one.text("algorithm")
    if algorithm not in ALGORITHMS:
        raise one.wrong("algorithm", algorithm, " or ".join(ALGORITHMS))
    tee, register, label = one.text("tee"), one.text("register"), one.text("label")
    if tee not in kinds.KINDS and tee != UNKNOWN_KIND:
        raise one.wrong("tee", tee, " or ".join((*kinds.KINDS, UNKNOWN_KIND)))
    if not _REGISTER.fullmatch(register):
        raise one.wrong("register", register, "the name of one, as policies have it")
    if not 0 < len(label) <= _LONGEST:
        raise one.wrong("label", label, f"1 to {_LONGEST} characters")
    decides = one.part("environment").members if "environment" in one else {}
    return Entry(
        tee,
        register,
        algorithm,
        one.octets("digest", ALGORITHMS[algorithm]),
        label,
        environment(decides, one.where),
    )


def _value(entry: Entry) -> Mapping[str, JsonValue]:
    return {
        "tee": entry.tee,
        "register": entry.register,
        "algorithm": entry.algorithm,
        "digest": entry.digest.hex(),
        "label": entry.label,
        **({"environment": dict(entry.environment)} if entry.environment else {}),
    }


def _only(document: JsonObject, known: set[str]) -> None:
    for name in document.members:
        if name not in known:
            raise document.wrong(name, "an unknown member", "no such member")
