"""
What does the certificate table of an extended report hold?

An array of 24-byte headers {GUID, offset, length} that ends with one of zeros, then the contents.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from attestation.errors import EvidenceFormatError

SOURCE = 'AMD 56421 r2.03, section 4.1.8.1, "MSG_REPORT_REQ", struct cert_table'
_HEADER_SIZE = 24
_TERMINATOR = bytes(_HEADER_SIZE)
SMALLEST = _HEADER_SIZE  # an empty table is its terminator
MAXIMUM_ENTRIES = 64

# GUIDs are stored mixed-endian, as UEFI does.  An ASVK travels under the GUID of the ASK.
KINDS = {
    uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd").bytes_le: "VCEK",
    uuid.UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1").bytes_le: "VLEK",
    uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782").bytes_le: "ASK",
    uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae").bytes_le: "ARK",
    uuid.UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea").bytes_le: "CRL",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its GUID, the kind it stands for ("VCEK", ...) or None, and its contents."""

    guid: uuid.UUID
    kind: str | None
    data: bytes


def looks_like_one(data: bytes) -> bool:
    """Whether `data` begins with the header of a known certificate, is empty, or has one behind others."""
    header = data[:_HEADER_SIZE]
    if header[:16] in KINDS or header == _TERMINATOR:
        return True
    try:
        _entry(data, header.ljust(_HEADER_SIZE, b"\xff"), _HEADER_SIZE)  # text ends here: it would be huge
        return any(entry.kind is not None for entry in parse(data))
    except EvidenceFormatError:
        return False


def parse(data: bytes) -> tuple[Entry, ...]:
    """
    Return the entries of the table in `data`, in its order.

    Raises:
        EvidenceFormatError: no terminator, too many entries, or contents outside the table.

    Not checked:
        That contents do not overlap, or what they are.

    Source:
        AMD publication 56421, revision 2.03, section 4.1.8.1, "MSG_REPORT_REQ", struct cert_table.
    """
    headers: list[bytes] = []
    for position in range(0, MAXIMUM_ENTRIES * _HEADER_SIZE, _HEADER_SIZE):
        header = data[position : position + _HEADER_SIZE]
        if len(header) < _HEADER_SIZE:
            raise _wrong("terminator", f"the end of the data at byte {len(data)}", "a header of zeros")
        if header == _TERMINATOR:
            return tuple(_entry(data, header, size_of_headers=position + _HEADER_SIZE) for header in headers)
        headers.append(header)
    raise _wrong("terminator", f"more than {MAXIMUM_ENTRIES} entries", f"at most {MAXIMUM_ENTRIES}")


def _entry(data: bytes, header: bytes, size_of_headers: int) -> Entry:
    guid, kind = uuid.UUID(bytes_le=header[:16]), KINDS.get(header[:16])
    offset = int.from_bytes(header[16:20], "little")
    end = offset + int.from_bytes(header[20:24], "little")
    if offset < size_of_headers or end > len(data):
        raise _wrong(
            f"entry {kind or guid}", f"bytes {offset} to {end}", f"within {size_of_headers} to {len(data)}"
        )
    return Entry(guid, kind, data[offset:end])


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("certificate table", field, found, want, SOURCE)
