"""
How does a guest get evidence about itself?

This is the attester's side, and the only part of the package that runs inside the guest.  It never judges,
and it never falls back to a simulation: that has to be asked for by name.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from attestation import endorsements, tsm
from attestation.azure import collect as azure
from attestation.endorsements import Endorsements
from attestation.errors import (
    CollectError,
    EvidenceFormatError,
    KernelError,
    NoTeeError,
    UnsupportedTeeError,
)
from attestation.guest import Guest
from attestation.intel import collect as intel
from attestation.nitro import collect as nitro
from attestation.simulated import collect as simulated
from attestation.simulated.chain import PEM
from attestation.snp import collect as snp
from attestation.tpm import collect as tpm

KINDS = ("snp", "tdx", "cca", "azure-snp", "azure-tdx", "nitro", "simulated")
_DEVICES = {"snp": snp.DEVICE, "tdx": intel.DEVICE}
_SOURCE = tsm.SOURCE


@dataclass(frozen=True, slots=True)
class Request:
    """
    What is asked of a guest.

    Attributes:
        report_data: 64 bytes, from `attestation.binding.report_data`.
        entry: A name for the request to the kernel that no other process uses.
        privlevel: The privilege level (VMPL) that a report is to be about; None for what the kernel allows.
        quote_of: On Azure with TDX, returns the quote of the trust domain for its TDREPORT.
    """

    report_data: bytes
    entry: str
    privlevel: int | None = None
    quote_of: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """
    What a guest says about itself.

    Attributes:
        kind: The kind of evidence.
        evidence: In the format of its kind.
        source: Where it came from.
        certificates: What the host adds: on SEV-SNP its certificate table; of the simulation, its chain.
        manifest: Of the services of a service module, where there is one.
    """

    kind: str
    evidence: bytes
    source: str
    certificates: bytes = b""
    manifest: bytes = b""

    @property
    def endorsements(self) -> Endorsements:
        """
        What of it serves to judge the evidence by.

        Raises:
            EvidenceFormatError: the host's certificate table is malformed.
        """
        if not self.certificates:
            return Endorsements()
        if self.kind == "simulated":
            return endorsements.parse(self.certificates, "simulated chain")
        return endorsements.from_certificate_table(self.certificates, "auxblob")


def detect(guest: Guest, entry: str) -> str:
    """
    Return the kind of evidence that a machine can give.

    Looked for in this order: the provider of configfs-tsm, /dev/sev-guest, /dev/tdx_guest, a vTPM with the
    report of Azure's paravisor, /dev/nsm.

    Args:
        guest: The machine.
        entry: A name for a request to the kernel that no other process uses.

    Raises:
        NoTeeError: none of these is there, or may be asked.
        UnsupportedTeeError: configfs-tsm has a provider that is not known.
        CollectError: the kernel refused.
    """
    reasons = []
    try:
        provider = tsm.provider(guest, entry)
    except tsm.UnavailableError as error:
        reasons += _reason(error)
    else:
        if provider not in tsm.PROVIDERS:
            raise UnsupportedTeeError("configfs-tsm provider", provider, " or ".join(tsm.PROVIDERS), _SOURCE)
        return tsm.PROVIDERS[provider]
    for kind, device in _DEVICES.items():
        if guest.exists(device):
            return kind
    if guest.exists(tpm.DEVICE):
        try:
            found = azure.kind(tpm.tpm_of(guest))
        except (CollectError, EvidenceFormatError) as error:
            found = None
            reasons += _reason(error)
        if found is not None:
            return found
    if guest.exists(nitro.DEVICE):
        return "nitro"
    shown = "; ".join(["none", *reasons])
    want = "one of /dev/sev-guest, /dev/tdx_guest, /dev/nsm, a provider of configfs-tsm, Azure's vTPM"
    raise NoTeeError("trusted execution environment", shown, want, _SOURCE)


def collect(kind: str, guest: Guest, request: Request) -> Collected:
    """
    Return evidence of `kind` that is bound to the request's `report_data`.

    Args:
        kind: One of `KINDS`; "simulated" is never chosen unless it is asked for.
        guest: The machine.
        request: What is asked of it.

    Raises:
        CollectError: the kernel, the host or a device refused, or another process interfered.
        UnsupportedTeeError: evidence of that kind cannot be collected here.
        EvidenceFormatError: a device answered what cannot be read.
        ValueError: `report_data` is not 64 bytes; the caller's bug.

    Not checked:
        The evidence: whoever relies on it appraises it, and not on this machine.
    """
    if kind not in KINDS:
        raise UnsupportedTeeError("kind of evidence", kind, " or ".join(KINDS), "")
    if len(request.report_data) != 64:
        raise ValueError(f"report_data: found {len(request.report_data)} bytes, want 64")
    if request.privlevel is not None and kind != "snp":
        raise UnsupportedTeeError("privilege level", f"one for {kind}", "none but for snp", "")
    if kind == "simulated":
        return Collected(kind, simulated.collect(request.report_data)[0], "the simulation", PEM)
    if kind == "nitro":
        return Collected(kind, nitro.document(guest, request.report_data), f"/{nitro.DEVICE}")
    if kind.startswith("azure-"):
        data, quote_of = request.report_data, request.quote_of
        found = azure.evidence(tpm.tpm_of(guest), kind.removeprefix("azure-"), data, quote_of)
        return Collected(kind, found, f"/{tpm.DEVICE}")
    return _by_configfs(kind, guest, request)


def _by_configfs(kind: str, guest: Guest, request: Request) -> Collected:
    """Ask configfs-tsm, and the kind's own device only where there is nothing to ask."""
    provider = next(name for name, known in tsm.PROVIDERS.items() if known == kind)
    try:
        answer = tsm.request(guest, request.entry, request.report_data, provider, request.privlevel)
    except tsm.UnavailableError as error:
        return _by_device(kind, guest, request, error)
    return Collected(kind, answer.outblob, "configfs-tsm", answer.auxblob, answer.manifestblob)


def _by_device(kind: str, guest: Guest, request: Request, reason: tsm.UnavailableError) -> Collected:
    device = _DEVICES.get(kind)
    if device is None or not guest.exists(device):
        want = "configfs-tsm" if device is None else f"configfs-tsm or /{device}"
        raise UnsupportedTeeError(reason.where, reason.found, want, reason.source) from reason
    if kind == "tdx":
        return Collected(kind, intel.quote(guest, request.report_data), f"/{device}")
    found = snp.extended_report(guest, request.report_data, request.privlevel)
    return Collected(kind, found.report, f"/{device}", found.certificates)


def _reason(error: CollectError | EvidenceFormatError) -> list[str]:
    """Return why something that is there says nothing; what is not there need not be said."""
    absent = isinstance(error, KernelError) and error.number == errno.ENOENT
    return [] if absent else [f"{error.where}: {error.found}"]
