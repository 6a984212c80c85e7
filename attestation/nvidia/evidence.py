"""
What was handed to us: a request for measurements, and the device's signed answer.

Both messages are under the signature, so an answer to another question is noticed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.errors import EvidenceFormatError
from attestation.reader import Reader

SOURCE = 'DMTF DSP0274, version 1.1.3, section 10.11, "GET_MEASUREMENTS request and MEASUREMENTS response"'
MAXIMUM_SIZE = 1 << 16
_VERSION = 0x11
_REQUEST, _RESPONSE = 0xE0, 0x60
_SIGNATURE_REQUESTED, _ALL = 0x01, 0xFF
_NONCE = 32
_REQUEST_SIZE = 4 + _NONCE + 1
_SIGNATURE = 96
_DMTF = 1
DRIVER = 3
_VBIOS, _DECODER, _DISABLED = 6, 11, b"\x55"

# What NVIDIA puts into the opaque data; numbers that are not here stay numbers.
OPAQUE = {
    3: "driver_version",
    6: "vbios_version",
    15: "chip_sku",
    16: "chip_sku_mod",
    17: "project",
    18: "project_sku",
    19: "project_sku_mod",
    20: "fwid",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The measurements of one device.

    Attributes:
        nonce: Of the request: what the relying party asked with.
        measurements: Values by the index of their blocks.
        opaque: NVIDIA's facts by their numbers.
        signed_bytes: Request and response without the signature.
        signature: r and s, big-endian, 48 bytes each.
        sha256: Digest of the bytes as they were given.
    """

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[int, bytes]
    signed_bytes: bytes
    signature: bytes
    sha256: bytes

    def text(self, number: int) -> str | None:
        """Return one of the opaque facts as text, None where it is missing or no text."""
        raw = self.opaque.get(number, b"").rstrip(b"\0")
        return raw.decode("ascii") if raw and raw.isascii() else None

    @property
    def vbios_version(self) -> str | None:
        """The version of the firmware as people write it: GPUs give it as bytes, switches as text."""
        raw = self.opaque.get(_VBIOS, b"")
        if len(raw) != 8:
            return self.text(_VBIOS)
        major, minor = struct.unpack("<II", raw)
        parts = major >> 24, major >> 16 & 255, major >> 8 & 255, major & 255, minor & 255
        return ".".join(f"{part:02X}" for part in parts)

    @property
    def decoder_disabled(self) -> bool:
        """Whether the video decoder is off: then the measurement of its firmware says nothing."""
        return self.opaque.get(_DECODER) == _DISABLED


def parse(data: bytes) -> Evidence:
    """
    Return the measurements in `data`: a request, the response, its signature.

    Raises:
        EvidenceFormatError: anything else, or a request that does not ask for all measurements under a
            signature.

    Not checked:
        The signature, and everything else that `authenticate` is for.

    Source:
        DMTF DSP0274, version 1.1.3, section 10.11.  NVIDIA/nvtrust, guest_tools, for the opaque data.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    reader = _reader(data)
    request = reader.take(_REQUEST_SIZE, "request")
    if request[:4] != bytes((_VERSION, _REQUEST, _SIGNATURE_REQUESTED, _ALL)):
        raise _wrong("request", request[:4].hex(), "11e001ff: all measurements, signed", 0)
    head = reader.take(4, "response")
    if head[:2] != bytes((_VERSION, _RESPONSE)):
        raise _wrong("response", head[:2].hex(), "1160 (MEASUREMENTS)", _REQUEST_SIZE)
    count = reader.number(1, "number of blocks")
    record = reader.take(reader.number(3, "record length"), "record")
    reader.take(_NONCE, "nonce of the device")
    opaque = reader.take(reader.number(2, "opaque length"), "opaque data")
    signed_bytes = data[: reader.at]
    signature = reader.take(_SIGNATURE, "signature")
    if reader.at != len(data):
        raise _wrong("", f"{len(data) - reader.at} bytes behind it", "none", reader.at)
    return Evidence(
        request[4 : 4 + _NONCE],
        _measurements(record, count),
        _opaque(opaque),
        signed_bytes,
        signature,
        hashlib.sha256(data).digest(),
    )


def _measurements(record: bytes, count: int) -> Mapping[int, bytes]:
    reader = _reader(record)
    found: dict[int, bytes] = {}
    for _ in range(count):
        index, specification = reader.number(1, "index"), reader.number(1, "measurement specification")
        block = _reader(reader.take(reader.number(2, "measurement size"), "measurement"))
        block.number(1, "measurement type")
        value = block.take(block.number(2, "value size"), "measurement value")
        if specification != _DMTF or block.at != len(block.data) or index in found:
            raise _wrong("measurement", f"block {index}", "one of DMTF's format, each index once", None)
        found[index] = value
    if reader.at != len(record):
        raise _wrong("record length", f"{len(record)} bytes", f"{reader.at} bytes of {count} blocks", None)
    return found


def _opaque(data: bytes) -> Mapping[int, bytes]:
    reader = _reader(data)
    found: dict[int, bytes] = {}
    while reader.at < len(data):
        number = reader.number(2, "opaque data type")
        value = reader.take(reader.number(2, "opaque data size"), "opaque data")
        if number in found:
            raise _wrong("opaque data", f"two of type {number}", "each once", None)
        found[number] = value
    return found


def _reader(data: bytes) -> Reader:
    return Reader(data, "measurements", SOURCE, origin=None)


def _wrong(field: str, found: str, want: str, offset: int | None) -> EvidenceFormatError:
    return EvidenceFormatError("measurements", field, found, want, SOURCE, offset=offset)
