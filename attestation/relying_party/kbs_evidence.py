"""
How do guests of Confidential Containers wrap evidence?

Each attester has a JSON object of its own around the bytes that its hardware gave; those bytes are what is
appraised, as everywhere else.  A report of SEV-SNP comes taken apart, and is put together again: every byte
that the chip signed has a member that says it.

Source:
    confidential-containers/guest-components, attestation-agent/attester/src, `SnpEvidence`, `TdxEvidence`,
    `SgxDcapAttesterEvidence`; virtee/sev, src/firmware/guest/types/snp.rs, `AttestationReport`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attestation.json_document import JsonObject
from attestation.relying_party import base64url
from attestation.relying_party.errors import RequestError
from attestation.relying_party.kbs_snp import report
from attestation.relying_party.octets import octets

_LARGEST_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The evidence itself, certificates of the host, and a log of the firmware."""

    evidence: bytes
    certificates: bytes = b""
    event_log: bytes | None = None


def kind_of(tee: str) -> str:
    """
    Return the kind of evidence that a name of the protocol means.

    Raises:
        RequestError: none that can be unwrapped here.
    """
    if tee not in _KINDS:
        raise RequestError("tee", repr(tee)[:40], f"one of {', '.join(_KINDS)}")
    return _KINDS[tee][0]


def unwrap(tee: str, wrapped: JsonObject) -> Unwrapped:
    """
    Return what an attester wrapped.

    Raises:
        RequestError, EvidenceFormatError: something else.
    """
    return _KINDS[tee][1](wrapped)


def _tdx(wrapped: JsonObject) -> Unwrapped:
    log = wrapped.members.get("cc_eventlog")
    event_log = base64url.padded(wrapped.text("cc_eventlog"), "cc_eventlog") if log else None
    return Unwrapped(base64url.padded(wrapped.text("quote"), "quote"), event_log=event_log)


def _sgx(wrapped: JsonObject) -> Unwrapped:
    return Unwrapped(base64url.padded(wrapped.text("quote"), "quote"))


def _snp(wrapped: JsonObject) -> Unwrapped:
    chain = [] if wrapped.members.get("cert_chain") is None else list(wrapped.parts("cert_chain"))
    if len(chain) > _LARGEST_CHAIN:
        raise RequestError("cert_chain", f"{len(chain)} certificates", f"at most {_LARGEST_CHAIN}")
    certificates = b"".join(_pem(octets(one, "data")) for one in chain)
    return Unwrapped(report(wrapped.part("attestation_report")), certificates)


def _simulated(wrapped: JsonObject) -> Unwrapped:
    """Of this project's own simulation; that of the protocol signs nothing, and is never accepted."""
    return Unwrapped(base64url.padded(wrapped.text("simulated_report"), "simulated_report"))


def _pem(certificate: bytes) -> bytes:
    if certificate.startswith(b"-----BEGIN"):
        return certificate.rstrip(b"\n") + b"\n"
    body = base64.encodebytes(certificate)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


_KINDS: Mapping[str, tuple[str, Callable[[JsonObject], Unwrapped]]] = {
    "snp": ("snp", _snp),
    "tdx": ("tdx", _tdx),
    "sgx": ("sgx", _sgx),
    "sample": ("simulated", _simulated),
}
