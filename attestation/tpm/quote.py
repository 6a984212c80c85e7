"""
What does a TPM's quote say?

A quote holds a digest over registers, not the registers: they come beside it, and only those that the digest
covers mean anything.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.reader import Reader
from attestation.tpm.signature import Signature

SOURCE = 'TCG TPM 2.0 Library, part 2, rev. 1.59, section 10.12.12, "TPMS_ATTEST"'
REGISTERS = 24
_MAGIC = 0xFF544347
_ATTEST_QUOTE = 0x8018
_BANKS: Mapping[int, str] = {0x000B: "sha256", 0x000C: "sha384"}
_CLOCK = struct.Struct(">QII?Q")  # clock, resets, restarts, safe, firmware version


@dataclass(frozen=True, slots=True)
class Attest:
    """
    What a quote says; the registers come beside it.

    Attributes:
        message: What was signed.
        qualified_signer: The name of the key, in its hierarchy.
        extra_data: What whoever asked for it gave.
        clock: Milliseconds for which the TPM has been powered.
        resets, restarts: How often the TPM was reset, and restarted since.
        safe: Whether no higher clock can have been seen before.
        firmware_version: Of the TPM.
        bank: The hash of the quoted registers, as the library calls it.
        selected: Their numbers, increasing.
        digest: Over their values.
    """

    message: bytes
    qualified_signer: bytes
    extra_data: bytes
    clock: int
    resets: int
    restarts: int
    safe: bool
    firmware_version: int
    bank: str
    selected: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Quote:
    """
    A quote with its registers.

    Attributes:
        attest: What it says.
        signature: Over the message.
        pcrs: Exactly the registers that the quote covers, by number.
    """

    attest: Attest
    signature: Signature
    pcrs: Mapping[int, bytes]


def complete(attest: Attest, signature: Signature, registers: Mapping[int, bytes]) -> Quote:
    """
    Return a quote with those of `registers` that it covers.

    Args:
        attest: From `parse`.
        signature: From `attestation.tpm.signature`; the digest over the registers is made with its hash.
        registers: Of the quote's bank, by number.

    Raises:
        EvidenceFormatError: a quoted register is missing, or one has another size.
        NotAuthenticError: the registers are not those that were quoted.

    Not checked:
        The signature.
    """
    size = hashlib.new(attest.bank).digest_size
    if any(len(one) != size or number >= REGISTERS for number, one in registers.items()):
        raise _wrong("pcrs", f"{len(registers)} registers", f"at most {REGISTERS} of {size} bytes")
    missing = [number for number in attest.selected if number not in registers]
    if missing:
        raise _wrong("pcrs", f"{len(registers)} registers", f"register {missing[0]}, which is quoted")
    covered = {number: registers[number] for number in attest.selected}
    found = hashlib.new(signature.hash_name, b"".join(covered.values())).digest()
    if found != attest.digest:
        want = f"{found.hex()} of the registers"
        raise NotAuthenticError("quote.pcrDigest", attest.digest.hex(), want, SOURCE)
    return Quote(attest, signature, covered)


def parse(message: bytes) -> Attest:
    """
    Return the quote in `message`, TPMS_ATTEST.

    Raises:
        EvidenceFormatError: it is no quote of registers of one bank, SHA-256 or SHA-384.

    Not checked:
        The registers and the signature.

    Source:
        TCG TPM 2.0 Library, part 2, revision 1.59, section 10.12.12, "TPMS_ATTEST"; 10.12.1,
        "TPMS_QUOTE_INFO".
    """
    reader = Reader(message, "quote", SOURCE, byteorder="big", origin=None)
    magic, kind = reader.number(4, "magic"), reader.number(2, "type")
    if (magic, kind) != (_MAGIC, _ATTEST_QUOTE):
        raise _wrong("type", f"0x{magic:08x} and 0x{kind:04x}", "0xff544347 and 0x8018 (a quote)")
    signer = sized(reader, "qualifiedSigner")
    extra_data = sized(reader, "extraData")
    clock, resets, restarts, safe, firmware = _CLOCK.unpack(reader.take(_CLOCK.size, "clockInfo"))
    bank, selected = _selection(reader)
    digest = sized(reader, "pcrDigest")
    reader.end("")
    return Attest(
        message, signer, extra_data, clock, resets, restarts, safe, firmware, bank, tuple(selected), digest
    )


def sized(reader: Reader, field: str) -> bytes:
    """Return the next TPM2B: its size in two bytes, and itself."""
    return reader.take(reader.number(2, f"size of {field}"), field)


def _selection(reader: Reader) -> tuple[str, Sequence[int]]:
    """Return the bank, and the numbers of the quoted registers, increasing."""
    count = reader.number(4, "pcrSelect count")
    if count != 1:
        raise _wrong("pcrSelect", f"{count} banks", "one")
    bank = reader.number(2, "pcrSelect bank")
    if bank not in _BANKS:
        raise _wrong("pcrSelect", f"bank 0x{bank:04x}", "0x000b (SHA-256) or 0x000c (SHA-384)")
    bits = int.from_bytes(reader.take(reader.number(1, "sizeofSelect"), "pcrSelect"), "little")
    if bits == 0 or bits >> REGISTERS:
        raise _wrong("pcrSelect", f"0x{bits:x}", "at least one of 24 registers")
    return _BANKS[bank], [number for number in range(REGISTERS) if bits >> number & 1]


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("quote", field, found, want, SOURCE)
