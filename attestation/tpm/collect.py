"""
How does a TPM quote its registers?

The quote holds only a digest over them, so they are read beside it; if something was extended in between,
both are taken again.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from attestation.errors import CollectError, NotAuthenticError
from attestation.guest import Guest, explained
from attestation.patience import patiently
from attestation.reader import Reader
from attestation.tpm import quote
from attestation.tpm.command import LARGEST, SOURCE, Tpm, sized, taken
from attestation.tpm.signature import parse_with_or_without_head
from shim.canonical import JsonValue, canonical_bytes

DEVICE = "dev/tpmrm0"
ALL_REGISTERS = range(24)
_QUOTE, _PCR_READ, _READ_PUBLIC = 0x158, 0x17E, 0x173
_SHA256, _RSASSA = 0x000B, 0x0014
_DIGEST_SIZE = 32
_SELECT_SIZE = 3
_MEANINGS: Mapping[int, str] = {
    errno.ENOENT: "no TPM, or no driver of it",
    errno.EACCES: "only root and the group tss may ask",
    errno.EPERM: "only root and the group tss may ask",
    errno.EBUSY: "another process has it for itself",
    errno.ETIME: "the TPM did not answer in time",
}


@dataclass(frozen=True, slots=True)
class Quoted:
    """
    A quote, and what it is about.

    Attributes:
        message: TPMS_ATTEST.
        signature: PKCS #1 v1.5 with SHA-256.
        registers: All registers of the SHA-256 bank, from 0 on.
    """

    message: bytes
    signature: bytes
    registers: tuple[bytes, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as the evidence of a vTPM has it."""
        return {
            "message": self.message.hex(),
            "signature": self.signature.hex(),
            "pcrs": [register.hex() for register in self.registers],
        }


def tpm_of(guest: Guest) -> Tpm:
    """Return the TPM of a machine, behind the kernel's resource manager."""

    def exchange(command: bytes) -> bytes:
        with explained(f"/{DEVICE}", _MEANINGS, "drivers/char/tpm/tpm-dev-common.c, v6.12"):
            return guest.exchange(DEVICE, command, LARGEST + 1)

    return Tpm(exchange, guest.pause)


def evidence(tpm: Tpm, handle: int, qualifying_data: bytes) -> bytes:
    """
    Return a quote with its registers and the key that made it, as `attestation.tpm.evidence` reads it.

    Args:
        tpm: The TPM.
        handle: Of a key for signing that stays in the TPM.
        qualifying_data: At most 32 bytes that the quote is to contain.

    Raises:
        CollectError: the TPM refused, or the registers do not stop changing.
        EvidenceFormatError: what came is no response.

    Not checked:
        That anybody vouches for the key.
    """
    found = quoted(tpm, handle, qualifying_data)
    head = struct.pack(">HHH", _RSASSA, _SHA256, len(found.signature))
    return canonical_bytes(
        {
            "quote": found.message.hex(),
            "signature": (head + found.signature).hex(),
            "pcrs": b"".join(found.registers).hex(),
            "ak_public": public_area(tpm, handle).hex(),
        }
    )


def quoted(
    tpm: Tpm, handle: int, qualifying_data: bytes, registers: Collection[int] = ALL_REGISTERS
) -> Quoted:
    """
    Return a quote over `registers` of the SHA-256 bank, and the values that it is about.

    Raises:
        CollectError: the TPM refused, or the registers do not stop changing.
        EvidenceFormatError: what came is no response.

    Not checked:
        The signature.
    """

    def attempt() -> Quoted:
        found = Quoted(*_quote(tpm, handle, qualifying_data, registers), read_registers(tpm))
        try:
            signed = parse_with_or_without_head(found.signature)
            quote.complete(quote.parse(found.message), signed, dict(enumerate(found.registers)))
        except NotAuthenticError as error:
            raise _ChangedError(error.where, error.found, error.want, error.source) from error
        return found

    return patiently(attempt, lambda error: isinstance(error, _ChangedError), tpm.pause)


class _ChangedError(CollectError):
    """Registers were extended between a quote and reading them."""


def read_registers(tpm: Tpm) -> tuple[bytes, ...]:
    """
    Return all 24 registers of the SHA-256 bank, 32 bytes each.

    Raises:
        CollectError: there is no such bank, or the TPM refused.
        EvidenceFormatError: what came is no response.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 22.4, "TPM2_PCR_Read": it returns as many as fit.
    """
    found: dict[int, bytes] = {}
    while len(found) < len(ALL_REGISTERS):
        wanted = [number for number in ALL_REGISTERS if number not in found]
        reader = tpm.run("TPM2_PCR_Read", _PCR_READ, _selection(wanted))
        reader.number(4, "pcrUpdateCounter")
        selected = _selected(reader)
        digests = [taken(reader, "digest") for _ in range(reader.number(4, "count"))]
        reader.end("digests")
        if not selected:
            raise CollectError("TPM2_PCR_Read", "no registers", "those of the SHA-256 bank", SOURCE)
        if len(digests) != len(selected) or not set(selected) <= set(wanted):
            raise reader.wrong(
                "digests", f"{len(digests)} for registers {selected}", "one each, as asked for"
            )
        if any(len(digest) != _DIGEST_SIZE for digest in digests):
            raise reader.wrong("digests", "another size", f"{_DIGEST_SIZE} bytes each")
        found.update(zip(selected, digests, strict=True))
    return tuple(found[number] for number in ALL_REGISTERS)


def public_area(tpm: Tpm, handle: int) -> bytes:
    """
    Return what a key in the TPM is and may do, TPMT_PUBLIC.

    Raises:
        CollectError: the TPM refused.
        EvidenceFormatError: what came is no response.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 12.4, "TPM2_ReadPublic".
    """
    reader = tpm.run("TPM2_ReadPublic", _READ_PUBLIC, b"", handles=(handle,))
    public = taken(reader, "outPublic")
    taken(reader, "name")
    taken(reader, "qualifiedName")
    reader.end("qualifiedName")
    return public


def _quote(tpm: Tpm, handle: int, qualifying_data: bytes, registers: Collection[int]) -> tuple[bytes, bytes]:
    """
    Return TPMS_ATTEST and its bare signature.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 18.4, "TPM2_Quote".
    """
    parameters = sized(qualifying_data) + struct.pack(">HH", _RSASSA, _SHA256) + _selection(registers)
    reader = tpm.authorized("TPM2_Quote", _QUOTE, parameters, handles=(handle,))
    message = taken(reader, "quoted")
    scheme = reader.number(2, "sigAlg"), reader.number(2, "hash")
    if scheme != (_RSASSA, _SHA256):
        raise reader.wrong("sigAlg", f"0x{scheme[0]:04x} and 0x{scheme[1]:04x}", "RSASSA and SHA-256")
    signature = taken(reader, "signature")
    reader.end("signature")
    return message, signature


def _selection(registers: Collection[int]) -> bytes:
    """Return TPML_PCR_SELECTION of registers of the SHA-256 bank."""
    bits = sum(1 << number for number in registers).to_bytes(_SELECT_SIZE, "little")
    return struct.pack(">IHB", 1, _SHA256, _SELECT_SIZE) + bits


def _selected(reader: Reader) -> list[int]:
    """Return the registers that a response is about, increasing."""
    found: list[int] = []
    for _ in range(reader.number(4, "pcrSelect count")):
        if reader.number(2, "pcrSelect bank") != _SHA256 or found:
            raise reader.wrong("pcrSelect", "another bank", "SHA-256, once")
        bits = int.from_bytes(reader.take(reader.number(1, "sizeofSelect"), "pcrSelect"), "little")
        found = [number for number in range(bits.bit_length()) if bits >> number & 1]
    return found
