"""
How do guests of Confidential Containers wrap evidence, and what of a digest do they bind it to?

Each attester has a JSON object of its own around the bytes that its hardware gave; those bytes are what is
appraised, as everywhere else.  A report of SEV-SNP comes taken apart, and is put together again: every byte
that the chip signed has a member that says it.

Source:
    confidential-containers/guest-components, attestation-agent/attester/src, `SnpEvidence`, `TdxEvidence`,
    `SgxDcapAttesterEvidence`, `CcaEvidence`, `NvDeviceEvidence`; virtee/sev, src/firmware/guest/types/snp.rs,
    `AttestationReport`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attestation.binding import SIZE, Binding, Exact, Field
from attestation.json_document import JsonObject
from attestation.relying_party import base64url, kbs_vtpm
from attestation.relying_party.errors import RequestError
from attestation.relying_party.kbs_snp import report
from attestation.relying_party.octets import octets

_LARGEST_CHAIN = 16
_MOST_DEVICES = 32
_NONCE_OF_SPDM = 32


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The evidence itself, certificates of the host, and a log of the firmware."""

    evidence: bytes
    certificates: bytes = b""
    event_log: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Machine:
    kind: str
    read: Callable[[JsonObject], Unwrapped]
    bind: Callable[[bytes], Binding]


def kind_of(tee: str) -> str:
    """
    Return the kind of evidence that a name of the protocol means.

    Raises:
        RequestError: none that can be unwrapped here.
    """
    return _machine(tee).kind


def kind_of_devices(tee: str) -> str:
    """
    Return the kind of evidence that the name of an attester of devices means.

    Raises:
        RequestError: none that can be unwrapped here: what nobody looks at must not seem to be looked at.
    """
    if tee != "nvidia":
        raise RequestError("additional evidence", repr(tee)[:40], "nvidia")
    return "nvidia"


def unwrap(tee: str, wrapped: JsonObject) -> Unwrapped:
    """
    Return what an attester wrapped.

    Raises:
        RequestError, EvidenceFormatError: something else.
    """
    return _machine(tee).read(wrapped)


def binding(tee: str, digest: bytes) -> Binding:
    """
    Return what evidence of a machine has to hold for a digest of 48 bytes.

    Hardware has 64 bytes for it, filled up with zeros.  A quote of a TPM holds the digest as it is.

    Raises:
        RequestError: the name of no kind that can be unwrapped here.
    """
    return _machine(tee).bind(digest)


def devices(wrapped: JsonObject) -> tuple[Unwrapped, ...]:
    """
    Return what the attester of NVIDIA's devices wrapped, GPUs and switches alike.

    What it calls them, and which architecture it says they are, is not looked at: certificates tell.

    Raises:
        RequestError, EvidenceFormatError: something else, no device, or very many.
    """
    listed = tuple(wrapped.parts("device_evidence_list"))
    if not 0 < len(listed) <= _MOST_DEVICES:
        want = f"1 to {_MOST_DEVICES}"
        raise RequestError(f"{wrapped.where}.device_evidence_list", f"{len(listed)} devices", want)
    return tuple(
        Unwrapped(_measurements(one), base64url.padded(one.text("certificate"), f"{one.where}.certificate"))
        for one in listed
    )


def device_binding(digest: bytes) -> Binding:
    """Return what evidence of a device has to hold for a digest of 48 bytes: SPDM's nonce is shorter."""
    return Field(digest[:_NONCE_OF_SPDM])


def _machine(tee: str) -> _Machine:
    if tee not in _MACHINES:
        raise RequestError("tee", repr(tee)[:40], f"one of {', '.join(_MACHINES)}")
    return _MACHINES[tee]


def _tdx(wrapped: JsonObject) -> Unwrapped:
    log = wrapped.members.get("cc_eventlog")
    event_log = base64url.padded(wrapped.text("cc_eventlog"), "cc_eventlog") if log else None
    return Unwrapped(base64url.padded(wrapped.text("quote"), "quote"), event_log=event_log)


def _sgx(wrapped: JsonObject) -> Unwrapped:
    return Unwrapped(base64url.padded(wrapped.text("quote"), "quote"))


def _cca(wrapped: JsonObject) -> Unwrapped:
    return Unwrapped(octets(wrapped, "token"))


def _snp(wrapped: JsonObject) -> Unwrapped:
    chain = [] if wrapped.members.get("cert_chain") is None else list(wrapped.parts("cert_chain"))
    if len(chain) > _LARGEST_CHAIN:
        raise RequestError("cert_chain", f"{len(chain)} certificates", f"at most {_LARGEST_CHAIN}")
    certificates = b"".join(_pem(octets(one, "data")) for one in chain)
    return Unwrapped(report(wrapped.part("attestation_report")), certificates)


def _azure_snp(wrapped: JsonObject) -> Unwrapped:
    evidence, certificate = kbs_vtpm.snp(wrapped)
    return Unwrapped(evidence, _pem(certificate))


def _azure_tdx(wrapped: JsonObject) -> Unwrapped:
    return Unwrapped(kbs_vtpm.tdx(wrapped))


def _simulated(wrapped: JsonObject) -> Unwrapped:
    """Of this project's own simulation; that of the protocol signs nothing, and is never accepted."""
    return Unwrapped(base64url.padded(wrapped.text("simulated_report"), "simulated_report"))


def _measurements(device: JsonObject) -> bytes:
    """Attesters wrote hexadecimal digits at first, and write base64 now."""
    text = device.text("evidence")
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        want = "hexadecimal digits, or base64 with padding"
        raise RequestError(f"{device.where}.evidence", repr(text)[:40], want) from error


def _pem(certificate: bytes) -> bytes:
    if certificate.startswith(b"-----BEGIN"):
        return certificate.rstrip(b"\n") + b"\n"
    body = base64.encodebytes(certificate)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def _filled_up(digest: bytes) -> Binding:
    return Exact(digest.ljust(SIZE, b"\0"))


_MACHINES: Mapping[str, _Machine] = {
    "snp": _Machine("snp", _snp, _filled_up),
    "tdx": _Machine("tdx", _tdx, _filled_up),
    "sgx": _Machine("sgx", _sgx, _filled_up),
    "cca": _Machine("cca", _cca, _filled_up),
    "az-snp-vtpm": _Machine("azure-snp", _azure_snp, Field),
    "az-tdx-vtpm": _Machine("azure-tdx", _azure_tdx, Field),
    "sample": _Machine("simulated", _simulated, _filled_up),
}
