"""
What does a store remember of an endorsement, and is it still what was written?

An entry names what was served by digest.  Its own digest stands before it, so that damage shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from attestation import json_document
from attestation.errors import EvidenceFormatError
from attestation.wanted import Answer
from shim.canonical import JsonValue, canonical_bytes

LARGEST = 1 << 14
_VERSION = 1
_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """
    An endorsement that was fetched, found right and kept.

    Attributes:
        url: Its name, where the vendor serves it.
        answer: What was served.
        issued: When its signer made it.
        fetched: When it was served, or last found to be unchanged.
        source: Where it was really asked for, which may be a mirror.
        etag, modified: What the server calls this version, or "".
    """

    url: str
    answer: Answer
    issued: datetime
    fetched: datetime
    source: str
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The same with digests in the place of what was served; `issuers` is "" where there are none."""

    url: str
    body: str
    issuers: str
    issued: datetime
    fetched: datetime
    source: str
    etag: str
    modified: str

    @property
    def digests(self) -> tuple[str, ...]:
        """What it names."""
        return tuple(one for one in (self.body, self.issuers) if one)

    def kept(self, parts: Sequence[bytes]) -> Kept:
        """Return it with what it names, in the order of `digests`."""
        answer = Answer(parts[0], parts[1] if self.issuers else b"")
        return Kept(self.url, answer, self.issued, self.fetched, self.source, self.etag, self.modified)


def name(url: str) -> str:
    """Return the name of the file of an entry."""
    return hashlib.sha256(url.encode()).hexdigest()


def of(kept: Kept) -> Entry:
    """Return the entry of what is kept."""
    issuers = kept.answer.issuers
    return Entry(
        kept.url,
        hashlib.sha256(kept.answer.body).hexdigest(),
        hashlib.sha256(issuers).hexdigest() if issuers else "",
        kept.issued,
        kept.fetched,
        kept.source,
        kept.etag,
        kept.modified,
    )


def dumps(entry: Entry) -> bytes:
    """Return the bytes of an entry; equal ones have equal bytes."""
    members: dict[str, JsonValue] = {
        "version": _VERSION,
        "url": entry.url,
        "body": entry.body,
        "issuers": entry.issuers,
        "issued": _text(entry.issued),
        "fetched": _text(entry.fetched),
        "source": entry.source,
        "etag": entry.etag,
        "modified": entry.modified,
    }
    text = canonical_bytes(members)
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def loads(data: bytes) -> Entry:
    """
    Return the entry in `data`.

    Raises:
        EvidenceFormatError: it is none, or not the one that was written.
    """
    found = json_document.read(data[_DIGITS + 1 :], "entry")
    if found.number("version", 0xFFFF) != _VERSION:
        raise found.wrong("version", found.members["version"], str(_VERSION))
    entry = Entry(
        found.text("url"),
        found.octets("body", 32).hex(),
        found.octets("issuers").hex(),
        found.time("issued"),
        found.time("fetched"),
        found.text("source"),
        found.text("etag"),
        found.text("modified"),
    )
    if len(entry.issuers) not in {0, _DIGITS} or dumps(entry) != data:
        raise EvidenceFormatError("entry", "", "another digest or spelling", "those that are written")
    return entry


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
