"""What was handed to us: an attestation document under its signature, which brings all certificates along."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation import cose
from attestation.cose import Sign1
from attestation.errors import EvidenceFormatError
from attestation.nitro import report
from attestation.nitro.report import Document

MAXIMUM_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document, the message that it came in, and the digest of the bytes as they were given."""

    document: Document
    message: Sign1
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the document in `data`.

    Raises:
        EvidenceFormatError: anything else.

    Not checked:
        The signature, and everything else that `authenticate` is for.

    Source:
        AWS Nitro Enclaves, NSM API, docs/attestation_process.md, section 3.2.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    message = cose.parse(data, "attestation document")
    return Evidence(report.parse(message.payload), message, hashlib.sha256(data).digest())
