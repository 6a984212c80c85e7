"""
What was handed to us: a quote of a TPM, its registers, and the key that signed it.

They come from several commands, so they travel in one JSON object, bytes in hexadecimal, or in a directory of
files as those commands write them; `attestation.files` makes one of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from attestation import endorsements, json_document
from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.tpm import public_area, quote, signature
from attestation.tpm.endorsement import SOURCE, Said
from attestation.tpm.public_area import PublicArea
from attestation.tpm.quote import Attest, Quote

MAXIMUM_SIZE = 1 << 18


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What a TPM gives.

    Attributes:
        quote: What it says, with the registers.
        key: The attestation key.
        certificates: Of that key and of its issuers, DER; none where a policy names the key.
        endorsement: The key that the TPM's maker vouches for; None where the guest does not say.
        sha256: Digest of the bytes as they were given.
    """

    quote: Quote
    key: PublicArea
    certificates: tuple[bytes, ...]
    endorsement: Said | None
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the evidence in `data`.

    An object of `quote` (TPMS_ATTEST), `signature` (TPMT_SIGNATURE), `pcrs` (the values of the quoted
    registers, one after the other, by increasing number), `ak_public` (TPMT_PUBLIC or TPM2B_PUBLIC), and
    where there are any `ak_certificates` (DER or PEM, one after the other), and `ek_public` with
    `ek_certificate` (one, DER or PEM; what fills up its index in the TPM may follow).

    Raises:
        EvidenceFormatError: anything else, or parts that cannot be read.
        NotAuthenticError: the registers are not those that were quoted.

    Not checked:
        The signature, and whose the key is: `authenticate` does.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    parts = json_document.read(data, "evidence")
    attest = quote.parse(parts.octets("quote"))
    signed = signature.parse(parts.octets("signature"))
    complete = quote.complete(attest, signed, _registers(attest, parts.octets("pcrs")))
    certificates: tuple[bytes, ...] = ()
    if "ak_certificates" in parts:
        certificates = endorsements.parse(parts.octets("ak_certificates"), "ak_certificates").certificates
    key = public_area.parse(parts.octets("ak_public"))
    return Evidence(complete, key, certificates, _endorsement(parts), hashlib.sha256(data).digest())


def _endorsement(parts: JsonObject) -> Said | None:
    if "ek_public" not in parts and "ek_certificate" not in parts:
        return None
    key = public_area.parse_storage(parts.octets("ek_public"))
    # Of an index that is larger than its certificate the rest was never written: all bits are set.
    found = parts.octets("ek_certificate").rstrip(b"\xff")
    certificates = endorsements.parse(found, "ek_certificate").certificates
    if len(certificates) != 1:
        want = "one certificate"
        raise EvidenceFormatError("ek_certificate", "", f"{len(certificates)} certificates", want, SOURCE)
    return Said(key, certificates[0])


def _registers(attest: Attest, values: bytes) -> Mapping[int, bytes]:
    size = hashlib.new(attest.bank).digest_size
    if len(values) != size * len(attest.selected):
        want = f"{len(attest.selected)} registers of {size} bytes"
        raise EvidenceFormatError("quote", "pcrs", f"{len(values)} bytes", want, quote.SOURCE)
    return {number: values[place * size :][:size] for place, number in enumerate(attest.selected)}
