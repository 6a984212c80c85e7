"""
How does a guest get evidence about itself?

This is the attester's side, and the only part of the package that runs inside the guest.  It never judges,
and it never falls back to a simulation: that has to be asked for by name.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.errors import CollectError, NoTeeError, UnsupportedTeeError
from attestation.simulated import collect as simulated_collect
from attestation.tsm import REPORTS, ConfigfsTsm, TsmReports

# Device node, kind of evidence, and the name that the kind's driver gives itself in configfs-tsm.
_DEVICES = (("dev/sev-guest", "snp"), ("dev/tdx_guest", "tdx"), ("dev/nsm", "nitro"))
_PROVIDERS = {"snp": "sev_guest"}
_ATTEMPTS = 5
_TRY_AGAIN = frozenset({errno.EBUSY, errno.EWOULDBLOCK, errno.ETIMEDOUT, errno.EINTR})
_SOURCE = "Documentation/ABI/testing/configfs-tsm, v6.12"


def detect(root: Path) -> str:
    """
    Return the kind of evidence that the machine at `root` can give: "snp".

    Args:
        root: The root of the file system, `/` outside tests.

    Raises:
        NoTeeError: no device of a trusted execution environment is there.
        UnsupportedTeeError: there is one of another kind, or one without configfs-tsm.
    """
    for device, kind in _DEVICES:
        if (root / device).exists():
            return _supported(root, kind, device)
    devices = ", ".join(f"/{device}" for device, _ in _DEVICES)
    raise NoTeeError("trusted execution environment", "none", f"one of {devices}", _SOURCE)


def collect(
    kind: str,
    report_data: bytes,
    *,
    root: Path,
    entry: str,
    pause: Callable[[float], None],
) -> tuple[bytes, Endorsements]:
    """
    Return evidence of `kind` that is bound to `report_data`, and the endorsements that the host adds.

    Args:
        kind: "snp", or "simulated", which is never chosen unless it is asked for.
        report_data: 64 bytes, from `attestation.binding.report_data`.
        root: The root of the file system, `/` outside tests.
        entry: A name for the request that no other process uses.
        pause: Called with seconds to wait before the next attempt while the host is busy.

    Raises:
        CollectError: the kernel or the host refused, or another process interfered.
        UnsupportedTeeError: evidence of that kind cannot be collected here.
        EvidenceFormatError: the host's certificate table is malformed.
        ValueError: `report_data` is not 64 bytes; the caller's bug.

    Not checked:
        The evidence: whoever relies on it appraises it, and not on this machine.
    """
    if kind == "simulated":
        return simulated_collect.collect(report_data)
    if kind not in _PROVIDERS:
        raise UnsupportedTeeError("kind of evidence", kind, f"simulated or {' or '.join(_PROVIDERS)}", "")
    if len(report_data) != 64:
        raise ValueError(f"report_data: found {len(report_data)} bytes, want 64")
    _supported(root, kind, REPORTS)
    evidence, auxiliary = request(ConfigfsTsm(root), entry, report_data, _PROVIDERS[kind], pause)
    supplied = endorsements.from_certificate_table(auxiliary, "auxblob") if auxiliary else Endorsements()
    return evidence, supplied


def request(
    reports: TsmReports, entry: str, report_data: bytes, provider: str, pause: Callable[[float], None]
) -> tuple[bytes, bytes]:
    """
    Return `outblob` and `auxblob` of one request to the kernel.

    The kernel counts every write to a request in `generation`.  If the count after reading is not the one
    before plus our single write, somebody else wrote, and what was read may be theirs.

    Raises:
        CollectError: another provider, another writer, or the kernel's error after some attempts.

    Source:
        Documentation/ABI/testing/configfs-tsm and drivers/virt/coco/tsm.c, v6.12.
    """
    with reports.request(entry):
        found = reports.read(entry, "provider").decode("ascii", "replace").strip()
        if found != provider:
            raise CollectError("configfs-tsm provider", found, provider, _SOURCE)
        before = _generation(reports, entry)
        reports.write(entry, "inblob", report_data)
        evidence = _read_patiently(reports, entry, "outblob", pause)
        auxiliary = reports.read(entry, "auxblob")
        after = _generation(reports, entry)
        if after != before + 1:
            found = f"{after - before} writes"
            raise CollectError("configfs-tsm generation", found, "1 write, ours", _SOURCE)
    return evidence, auxiliary


def _read_patiently(reports: TsmReports, entry: str, attribute: str, pause: Callable[[float], None]) -> bytes:
    """The host may throttle requests or not answer in time; both pass."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return reports.read(entry, attribute)
        except CollectError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _TRY_AGAIN:
                raise
            pause(2.0**attempt / 4)
    return reports.read(entry, attribute)


def _generation(reports: TsmReports, entry: str) -> int:
    text = reports.read(entry, "generation").decode("ascii", "replace").strip()
    if not text.isdecimal():
        raise CollectError("configfs-tsm generation", repr(text), "a number", _SOURCE)
    return int(text)


def _supported(root: Path, kind: str, found: str) -> str:
    if kind not in _PROVIDERS:
        raise UnsupportedTeeError("trusted execution environment", f"/{found} ({kind})", "snp", "")
    if not (root / REPORTS).is_dir():
        want = f"/{REPORTS} (Linux 6.7 with CONFIG_TSM_REPORTS, configfs mounted)"
        raise UnsupportedTeeError("configfs-tsm", f"no such directory for {kind}", want, _SOURCE)
    return kind
