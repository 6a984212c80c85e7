"""
What was handed to us: a bare report, a guest message, or a report with its certificate table?

The transport is recognised by structure alone.  No two of them can be confused: a report begins with its
version (2 to 5), a guest message with its status (0).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError
from attestation.snp import certificate_table, report
from attestation.snp.report import Report

MAXIMUM_SIZE = 1 << 20  # certificate tables of hosts are a few pages
_MESSAGE_HEADER = 0x20
_MESSAGE_SOURCE = 'AMD 56860 r1.58, section 7.3, "Attestation", structure of MSG_REPORT_RSP'


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    A report and the endorsements that travelled with it.

    Attributes:
        report: The report.
        endorsements: Certificates from the same bytes; not more trustworthy than any others.
        sha256: Digest of the bytes as they were given.
    """

    report: Report
    endorsements: Endorsements
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the evidence in `data`.

    Accepted are: a report, as configfs-tsm's `outblob` holds it (1184 bytes); a guest message
    MSG_REPORT_RSP, with the zeros that fill up the kernel's buffer; a report followed by a certificate table.

    Raises:
        EvidenceFormatError: anything else.

    Not checked:
        The signature, and everything else that `authenticate` is for.

    Source:
        AMD publication 56860, revision 1.58, section 7.3, "Attestation", structures of ATTESTATION_REPORT
        and MSG_REPORT_RSP.  include/uapi/linux/sev-guest.h, v6.12.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    digest = hashlib.sha256(data).digest()
    if data[:4] == bytes(4) and len(data) >= _MESSAGE_HEADER:
        return Evidence(report.parse(_unwrap_message(data)), Endorsements(), digest)
    if len(data) >= report.SIZE + certificate_table.SMALLEST:
        signed = report.parse(data[: report.SIZE])
        return Evidence(signed, endorsements.from_certificate_table(data[report.SIZE :]), digest)
    return Evidence(report.parse(data), Endorsements(), digest)


def _unwrap_message(data: bytes) -> bytes:
    size = int.from_bytes(data[4:8], "little")
    if size != report.SIZE:
        raise _wrong_message("REPORT_SIZE", f"{size} bytes", f"{report.SIZE} bytes", 4)
    if any(data[8:_MESSAGE_HEADER]):
        raise _wrong_message("reserved", data[8:_MESSAGE_HEADER].hex(), "zeros", 8)
    end = _MESSAGE_HEADER + size
    if any(data[end:]):
        raise _wrong_message("padding", f"{len(data) - end} bytes that are not all zero", "zeros", end)
    return data[_MESSAGE_HEADER:end]


def _wrong_message(field: str, found: str, want: str, offset: int) -> EvidenceFormatError:
    return EvidenceFormatError("guest message", field, found, want, _MESSAGE_SOURCE, offset=offset)
