"""
Where does a DER structure end, and what is its tag?

Only as much of X.690 as it takes to tell structures apart that stand one after the other, and to read the
few primitive values of vendors' extensions; what certificates say is read by the X.509 library.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestation.errors import EvidenceFormatError

SEQUENCE = 0x30
OBJECT_IDENTIFIER = 0x06
INTEGER = 0x02
OCTET_STRING = 0x04
ENUMERATED = 0x0A
BOOLEAN = 0x01
EXPLICIT_0 = 0xA0
_IA5_STRING = 0x16
_LONG_FORM = 0x80
_LONGEST_HEADER = 6
_PADDING = b"\x00\r\n"  # what hosts and editors leave after the last structure
_SOURCE = 'X.690, section 8.1.3, "Length octets"'


def split(data: bytes, where: str) -> tuple[bytes, ...]:
    """
    Return the SEQUENCEs of which `data` consists, one after the other, without padding after the last.

    Raises:
        EvidenceFormatError: something other than a SEQUENCE, or one that ends beyond the data.
    """
    structures = []
    at = 0
    while at < len(data):
        if data[at] != SEQUENCE:
            if not data[at:].strip(_PADDING):
                break
            raise EvidenceFormatError(where, "DER", f"tag 0x{data[at]:02x}", "a SEQUENCE", _SOURCE)
        end = _bounds(data, at, where)[1]
        structures.append(data[at:end])
        at = end
    return tuple(structures)


def begins_with(structure: bytes, tag: int, where: str) -> bool:
    """
    Whether the first element inside `structure` has this tag.

    Raises:
        EvidenceFormatError: the structure is too short to say.
    """
    return structure[_header(structure, where)[0] :][:1] == bytes([tag])


def innermost_tag(structure: bytes, where: str) -> int | None:
    """
    Return the tag of the first element inside the first element of `structure`, None where there is none.

    Raises:
        EvidenceFormatError: the structure is too short to say.
    """
    outer = structure[_header(structure, where)[0] :]
    return next(iter(outer[_header(outer, where)[0] :]), None)


def first_inside(structure: bytes, where: str) -> bytes:
    """
    Return the first element inside the first element of `structure`, as it stands: what a signature covers.

    Raises:
        EvidenceFormatError: an element that ends beyond the data.
    """
    begin, _ = _bounds(structure, 0, where)
    _, end = _bounds(structure, begin, where)
    return structure[begin:end]


def elements(data: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    """
    Yield (tag, contents) of the elements that `data` consists of, one after the other.

    Raises:
        EvidenceFormatError: an element that ends beyond the data.
    """
    at = 0
    while at < len(data):
        begin, end = _bounds(data, at, where)
        yield data[at], data[begin:end]
        at = end


def _bounds(data: bytes, at: int, where: str) -> tuple[int, int]:
    """Return where the contents of the element at `at` begin and end, inside the data."""
    header, length = _header(data[at : at + _LONGEST_HEADER], where)
    end = at + header + length
    if end > len(data):
        raise EvidenceFormatError(where, "DER", f"{len(data) - at} bytes", f"{end - at} bytes", _SOURCE)
    return at + header, end


def small_integer(data: bytes) -> int | None:
    """Return the value of `data` as exactly one INTEGER of 0 to 255, or None when it is anything else."""
    match tuple(data):
        case (tag, 1, value) if tag == INTEGER and value < 0x80:
            return value
        case (tag, 2, 0, value) if tag == INTEGER and value >= 0x80:
            return value
        case _:
            return None


def octet_string(data: bytes) -> bytes | None:
    """Return the contents of `data` as exactly one OCTET STRING below 128 bytes, or None."""
    return _contents(data, OCTET_STRING)


def ia5_string(data: bytes) -> str | None:
    """Return the contents of `data` as exactly one IA5String below 128 bytes, or None."""
    contents = _contents(data, _IA5_STRING)
    return contents.decode("ascii") if contents is not None and contents.isascii() else None


def _contents(data: bytes, tag: int) -> bytes | None:
    is_one = len(data) >= 2 and data[0] == tag and data[1] < _LONG_FORM and len(data) == data[1] + 2
    return data[2:] if is_one else None


def _header(data: bytes, where: str) -> tuple[int, int]:
    """Return the sizes of the tag with its length octets and of the contents, in bytes."""
    if len(data) < 2:
        raise EvidenceFormatError(where, "DER", f"{len(data)} bytes", "a tag and a length", _SOURCE)
    if data[1] < _LONG_FORM:
        return 2, data[1]
    count = data[1] & 0x7F
    if not 1 <= count <= 4 or len(data) < 2 + count:
        raise EvidenceFormatError(where, "DER", f"length octet 0x{data[1]:02x}", "a definite length", _SOURCE)
    return 2 + count, int.from_bytes(data[2 : 2 + count], "big")
