"""
Which bytes are one CBOR item, and nothing that two readers could read in two ways?

Looks at the bytes alone and makes no values; `cose.cbor` does that.
"""

from __future__ import annotations

from attestation.errors import EvidenceFormatError

SOURCE = 'RFC 8949, section 3, "Specification of the CBOR Encoding"'
_ARGUMENT_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
_FIRST_SIZE = 24
_STRINGS, _ARRAY, _MAP, _TAG, _SIMPLE = (2, 3), 4, 5, 6, 7
_DEEPEST = 32


def check(data: bytes, where: str, tags: frozenset[int]) -> None:
    """
    Check that `data` is one item of definite lengths, in which no map has a name twice.

    Raises:
        EvidenceFormatError: it is not, is nested more than 32 levels deep, or has a tag outside `tags`.
    """
    end = _item(data, 0, where, tags, 0)
    if end != len(data):
        raise EvidenceFormatError(where, "", f"{len(data) - end} bytes behind it", "none", SOURCE, offset=end)


def _item(data: bytes, at: int, where: str, tags: frozenset[int], depth: int) -> int:
    """Return where the item at `at` ends."""
    if depth > _DEEPEST:
        raise EvidenceFormatError(
            where, "", "deeper nesting", f"at most {_DEEPEST} levels", SOURCE, offset=at
        )
    major, argument, after = _head(data, at, where)
    if major in _STRINGS:
        if argument > len(data) - after:
            raise EvidenceFormatError(where, "", "a string that breaks off", "all of it", SOURCE, offset=at)
        return after + argument
    if major == _ARRAY:
        for _ in range(argument):
            after = _item(data, after, where, tags, depth + 1)
    elif major == _MAP:
        names: set[bytes] = set()
        for _ in range(argument):
            end = _item(data, after, where, tags, depth + 1)
            if data[after:end] in names:
                raise EvidenceFormatError(
                    where, "", "a map with the same name twice", "each once", SOURCE, offset=after
                )
            names.add(data[after:end])
            after = _item(data, end, where, tags, depth + 1)
    elif major == _TAG:
        if argument not in tags:
            raise EvidenceFormatError(where, "tag", str(argument), "one that belongs here", SOURCE, offset=at)
        after = _item(data, after, where, tags, depth + 1)
    return after


def _head(data: bytes, at: int, where: str) -> tuple[int, int, int]:
    """Return major type and argument of an item, and where its head ends."""
    if at >= len(data):
        raise EvidenceFormatError(where, "", "nothing", "an item", SOURCE, offset=at)
    major, low = data[at] >> 5, data[at] & 0x1F
    if low < _FIRST_SIZE:
        return major, low, at + 1
    size = _ARGUMENT_SIZES.get(low)
    if size is None or at + 1 + size > len(data):
        found = f"head 0x{data[at]:02x}"
        raise EvidenceFormatError(where, "", found, "one of definite length", SOURCE, offset=at)
    argument = int.from_bytes(data[at + 1 : at + 1 + size], "big")
    if major != _SIMPLE and argument < (_FIRST_SIZE if size == 1 else 1 << 4 * size):
        raise EvidenceFormatError(
            where, "", "a number that is longer than it needs to be", "the shortest", SOURCE, offset=at
        )
    return major, argument, at + 1 + size
