"""
JSON from somebody else, read strictly: every member is asked for by name and type.

Vendors sign the exact bytes of such documents, so they are read as they came and never written again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from attestation.errors import EvidenceFormatError

_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2})*")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def read(text: bytes, where: str) -> JsonObject:
    """
    Return the object that `text` is.

    Raises:
        EvidenceFormatError: it is none, or has a name twice in one object.
    """
    return _object(_value(text, where), where)


def read_array(text: bytes, where: str) -> Iterator[JsonObject]:
    """
    Yield the objects of the array that `text` is.

    Raises:
        EvidenceFormatError: it is none, or of something else, or has a name twice in one object.
    """
    value = _value(text, where)
    if not isinstance(value, list):
        raise EvidenceFormatError(where, "", type(value).__name__, "a JSON array")
    for place, one in enumerate(value):
        yield _object(one, f"{where}[{place}]")


def _value(text: bytes, where: str) -> object:
    try:
        value: object = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refused)
        if b"\\u" in text:  # half a surrogate pair is no character, and cannot be written again
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise EvidenceFormatError(where, "", str(error) or "nested too deeply", "JSON", "RFC 8259") from error
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object with the same name twice")
    return found


def _refused(name: str) -> object:
    raise ValueError(name)


def _object(value: object, where: str) -> JsonObject:
    if not isinstance(value, dict):
        raise EvidenceFormatError(where, "", type(value).__name__, "a JSON object")
    return JsonObject(value, where)


@dataclass(frozen=True, slots=True)
class JsonObject:
    """
    One object, and where it stands in which document.

    Every method raises EvidenceFormatError where the member is missing or something else.
    """

    members: Mapping[str, object]
    where: str

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def text(self, name: str) -> str:
        """Return a string."""
        value = self.members.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, value, "a string")
        return value

    def number(self, name: str, most: int) -> int:
        """Return a whole number of 0 to `most`."""
        value = self.members.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(name, value, f"a number of 0 to {most}")
        return value

    def octets(self, name: str, size: int | None = None) -> bytes:
        """Return bytes that are written in hexadecimal; `size` of them, if that is known."""
        text = self.text(name)
        if not _HEXADECIMAL.fullmatch(text) or size not in {None, len(text) // 2}:
            want = "hexadecimal digits" if size is None else f"{2 * size} hexadecimal digits"
            raise self.wrong(name, text, want)
        return bytes.fromhex(text)

    def time(self, name: str) -> datetime:
        """Return a time in UTC."""
        text = self.text(name)
        want = "a time as 2026-01-31T12:00:00Z"
        if not _TIME.fullmatch(text):
            raise self.wrong(name, text, want)
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError as error:
            raise self.wrong(name, text, want) from error

    def part(self, name: str) -> JsonObject:
        """Return an object."""
        return _object(self.members.get(name), f"{self.where}.{name}")

    def parts(self, name: str) -> Iterator[JsonObject]:
        """Yield the objects of an array."""
        for place, value in enumerate(self.array(name)):
            yield _object(value, f"{self.where}.{name}[{place}]")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the strings of an array; none where it is missing."""
        values = self.array(name) if name in self else ()
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, values, "an array of strings")
        return tuple(str(value) for value in values)

    def wrong(self, name: str, found: object, want: str) -> EvidenceFormatError:
        """Return the error that says what is wrong with a member."""
        shown = "nothing" if found is None else repr(found)[:80]
        return EvidenceFormatError(self.where, name, shown, want)

    def array(self, name: str) -> Sequence[object]:
        """Return an array, whatever is in it."""
        value = self.members.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, value, "an array")
        return value
