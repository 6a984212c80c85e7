"""
Statements about artifacts, by their digests: in-toto.

Source:
    in-toto attestation framework 1.1, spec/v1/statement.md and resource_descriptor.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attestation import json_document
from attestation.json_document import JsonObject
from images.layout.errors import reading
from images.signature import dsse
from images.signature.errors import SignatureFormatError
from shim.canonical import JsonValue, canonical_bytes

TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact: its name, its SHA-256 as 64 hexadecimal digits, and what is noted beside it."""

    name: str
    sha256: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """
    What is said of some artifacts.

    Attributes:
        subjects: Which ones.
        predicate_type: A URI for what kind of thing is said.
        predicate: What is said.
    """

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: JsonObject


def write(subjects: Sequence[Subject], predicate_type: str, predicate: Mapping[str, JsonValue]) -> bytes:
    """Return the canonical JSON of a statement."""
    return canonical_bytes(
        {
            "_type": TYPE,
            "subject": [_subject(one) for one in subjects],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def _subject(one: Subject) -> JsonValue:
    value: dict[str, JsonValue] = {"digest": {"sha256": one.sha256}}
    value |= {"name": one.name} if one.name else {}
    return value | ({"annotations": dict(one.annotations)} if one.annotations else {})


def parse(data: bytes, where: str) -> Statement:
    """
    Return what a statement says.

    Raises:
        SignatureFormatError: it is none of version 1, or says nothing about anything with a SHA-256.

    Not checked:
        Who signed it.
    """
    if len(data) > dsse.MAX_ENVELOPE:
        raise SignatureFormatError(where, f"{len(data)} bytes", f"at most {dsse.MAX_ENVELOPE} bytes")
    with reading(SignatureFormatError):
        document = json_document.read(data, where)
        if document.text("_type") != TYPE:
            raise document.wrong("_type", document.members["_type"], TYPE)
        subjects = tuple(_read_subject(part) for part in document.parts("subject"))
        if not subjects:
            raise document.wrong("subject", [], "at least one")
        predicate = document.part("predicate") if document.members.get("predicate") else JsonObject({}, where)
        return Statement(subjects, document.text("predicateType"), predicate)


def check_subject(said: Statement, sha256: str, where: str) -> None:
    """Check that a statement is about the artifact with a SHA-256; raises SignatureFormatError."""
    found = sorted(subject.sha256 for subject in said.subjects)
    if sha256 not in found:
        raise SignatureFormatError(f"{where}.subject", ", ".join(found), sha256)


def _read_subject(part: JsonObject) -> Subject:
    digest = part.part("digest").text("sha256")
    if not _SHA256.fullmatch(digest):
        raise part.wrong("digest.sha256", digest, "64 hexadecimal digits")
    noted = part.part("annotations").members if "annotations" in part else {}
    name = part.text("name") if "name" in part else ""
    return Subject(name, digest, {key: value for key, value in noted.items() if isinstance(value, str)})
