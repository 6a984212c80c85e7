"""
What was handed to us: the paravisor's report, a quote of the vTPM, and on TDX the quote of the trust domain.

They come from three places, so they travel in one JSON object, bytes in hexadecimal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation import json_document
from attestation.azure import report
from attestation.azure.report import HclReport
from attestation.errors import EvidenceFormatError
from attestation.intel import evidence as intel
from attestation.snp import evidence as snp
from attestation.tpm import quote as tpm
from attestation.tpm.quote import Quote
from attestation.tpm.signature import parse_with_or_without_head

MAXIMUM_SIZE = 1 << 20
_BANK = "sha256"


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What a confidential VM of Azure gives.

    Attributes:
        hcl: The paravisor's report.
        quote: The vTPM's, with the registers.
        hardware: A report of SEV-SNP, or the quote of a trust domain.
        sha256: Digest of the bytes as they were given.
    """

    hcl: HclReport
    quote: Quote
    hardware: snp.Evidence | intel.Evidence
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the evidence in `data`: an object of `hcl_report`, `tpm_quote` and, on TDX, `td_quote`.

    `tpm_quote` has `message`, `signature` and `pcrs`, an array of all registers from 0 on.

    Raises:
        EvidenceFormatError: anything else, or parts that cannot be read.
        NotAuthenticError: the registers are not those that were quoted.

    Not checked:
        Any signature, and that the parts belong together: `authenticate` does.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    if data.startswith(report.MAGIC):
        want = "an object, or a directory, of it and the vTPM's quote"
        raise EvidenceFormatError("evidence", "", "the HCL report alone", want, report.SOURCE)
    parts = json_document.read(data, "evidence")
    hcl = report.parse(parts.octets("hcl_report"))
    signed = parts.part("tpm_quote")
    registers = [_register(signed, number, text) for number, text in enumerate(signed.texts("pcrs"))]
    attest = tpm.parse(signed.octets("message"))
    if attest.bank != _BANK:
        raise EvidenceFormatError("quote", "pcrSelect", attest.bank, _BANK, tpm.SOURCE)
    signature = parse_with_or_without_head(signed.octets("signature"))
    quote = tpm.complete(attest, signature, dict(enumerate(registers)))
    if hcl.tee == "snp" and "td_quote" in parts:
        raise parts.wrong("td_quote", "one", "none beside a report of SEV-SNP, which needs no other")
    hardware = snp.parse(hcl.hardware) if hcl.tee == "snp" else intel.parse(parts.octets("td_quote"))
    return Evidence(hcl, quote, hardware, hashlib.sha256(data).digest())


def _register(signed: json_document.JsonObject, number: int, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise signed.wrong(f"pcrs[{number}]", text, "hexadecimal digits") from error
