"""
What does a TPM's quote say, and did a key make it?

A quote holds a digest over registers, not the registers: they come beside it, and only those that the digest
covers mean anything.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from attestation.errors import EvidenceFormatError, NotAuthenticError, SignatureError
from attestation.reader import Reader

SOURCE = 'TCG TPM 2.0 Library, part 2, rev. 1.59, section 10.12.12, "TPMS_ATTEST"'
_MAGIC = 0xFF544347
_ATTEST_QUOTE = 0x8018
_SHA256 = 0x000B
_RSASSA = 0x0014
_REGISTERS = 24
_LEAST_KEY = 2048
_CLOCK = struct.Struct(">QII?Q")  # clock, resets, restarts, safe, firmware version


@dataclass(frozen=True, slots=True)
class Quote:
    """
    A quote of registers of the SHA-256 bank.

    Attributes:
        message: What was signed.
        signature: PKCS #1 v1.5 with SHA-256.
        extra_data: What whoever asked for it gave.
        resets, restarts: How often the TPM was reset, and restarted since.
        firmware_version: Of the TPM.
        pcrs: Exactly the registers that the quote covers, by number.
    """

    message: bytes
    signature: bytes
    extra_data: bytes
    resets: int
    restarts: int
    firmware_version: int
    pcrs: Mapping[int, bytes]


def parse(message: bytes, signature: bytes, registers: Sequence[bytes]) -> Quote:
    """
    Return the quote in `message`, with those of `registers` that it covers.

    Args:
        message: TPMS_ATTEST.
        signature: A bare RSA signature, or TPMT_SIGNATURE with RSASSA and SHA-256.
        registers: All registers of the SHA-256 bank from 0 on, 32 bytes each.

    Raises:
        EvidenceFormatError: `message` is no quote of registers of the SHA-256 bank alone.
        NotAuthenticError: the registers are not those that were quoted.

    Not checked:
        The signature.

    Source:
        TCG TPM 2.0 Library, part 2, revision 1.59, section 10.12.12, "TPMS_ATTEST"; 10.12.1,
        "TPMS_QUOTE_INFO"; 11.3.4, "TPMT_SIGNATURE".
    """
    reader = _reader(message)
    magic, kind = reader.number(4, "magic"), reader.number(2, "type")
    if (magic, kind) != (_MAGIC, _ATTEST_QUOTE):
        raise _wrong("type", f"0x{magic:08x} and 0x{kind:04x}", "0xff544347 and 0x8018 (a quote)")
    _sized(reader, "qualifiedSigner")
    extra_data = _sized(reader, "extraData")
    _, resets, restarts, _, firmware = _CLOCK.unpack(reader.take(_CLOCK.size, "clockInfo"))
    selected = _selection(reader)
    digest = _sized(reader, "pcrDigest")
    reader.end("")
    if len(registers) > _REGISTERS or any(len(one) != hashlib.sha256().digest_size for one in registers):
        raise _wrong("pcrs", f"{len(registers)} registers", "at most 24 of 32 bytes")
    missing = [number for number in selected if number >= len(registers)]
    if missing:
        raise _wrong("pcrs", f"{len(registers)} registers", f"register {missing[0]}, which is quoted")
    covered = {number: registers[number] for number in selected}
    found = hashlib.sha256(b"".join(covered.values())).digest()
    if found != digest:
        raise NotAuthenticError("quote.pcrDigest", digest.hex(), f"{found.hex()} of the registers", SOURCE)
    return Quote(message, _bare(signature), extra_data, resets, restarts, firmware, covered)


def check(quote: Quote, key: rsa.RSAPublicKey) -> None:
    """
    Check that `key` made a quote.

    Raises:
        NotAuthenticError: the key is too short.
        SignatureError: it did not.
    """
    if key.key_size < _LEAST_KEY:
        raise NotAuthenticError("attestation key", f"{key.key_size} bits", f"at least {_LEAST_KEY}", SOURCE)
    try:
        key.verify(quote.signature, quote.message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise SignatureError(
            "TPM quote", "made by another key", "that of the attestation key", SOURCE
        ) from error


def _bare(signature: bytes) -> bytes:
    if signature[:4] == struct.pack(">HH", _RSASSA, _SHA256):
        reader = _reader(signature[4:])
        bare = _sized(reader, "signature")
        reader.end("")
        return bare
    return signature


def _selection(reader: Reader) -> list[int]:
    """Return the numbers of the quoted registers, increasing."""
    count = reader.number(4, "pcrSelect count")
    if count != 1:
        raise _wrong("pcrSelect", f"{count} banks", "one")
    bank = reader.number(2, "pcrSelect bank")
    if bank != _SHA256:
        raise _wrong("pcrSelect", f"bank 0x{bank:04x}", "0x000b (SHA-256)")
    bits = int.from_bytes(reader.take(reader.number(1, "sizeofSelect"), "pcrSelect"), "little")
    if bits == 0 or bits >> _REGISTERS:
        raise _wrong("pcrSelect", f"0x{bits:x}", "at least one of 24 registers")
    return [number for number in range(_REGISTERS) if bits >> number & 1]


def _reader(data: bytes) -> Reader:
    return Reader(data, "quote", SOURCE, byteorder="big", origin=None)


def _sized(reader: Reader, field: str) -> bytes:
    """Return the next TPM2B: its size in two bytes, and itself."""
    return reader.take(reader.number(2, f"size of {field}"), field)


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("quote", field, found, want, SOURCE)
