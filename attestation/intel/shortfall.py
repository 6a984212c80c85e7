"""
Which security versions are too low, and by how much?

A status says that something has to be updated; whoever has to do it asks what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from attestation.intel.endorsements import PckExtensions
from attestation.intel.report import EnclaveReport, TdReport
from attestation.intel.tcb_info import EnclaveIdentity, Level, TcbInfo

# Version and security version of the TDX module come first of what it reports; its own levels have the rest.
_MODULE_VERSION, _OWN_LEVELS = 1, 2


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One security version that is lower than it has to be."""

    component: str
    found: int
    want: int


def first_counted(svn: bytes) -> int:
    """Return from which place on the security versions of a domain's report count for its platform."""
    return _OWN_LEVELS if svn and svn[_MODULE_VERSION] else 0


def of_platform(pck: PckExtensions, svn: bytes, level: Level) -> Iterator[Shortfall]:
    """
    Yield what a platform lacks for a level; nothing if it has reached it.

    Args:
        pck: What the platform's certificate says.
        svn: TEE_TCB_SVN of a trust domain's report, 16 bytes; empty for SGX.
        level: One of the TCB info.

    Source:
        Intel SGX and TDX Provisioning Certification Service, API version 4, "Determining TCB status".
    """
    first = first_counted(svn)
    yield from _lower("component", pck.components, level.components, 1)
    yield from _lower("PCESVN", (pck.pce_svn,), (level.pce_svn,))
    yield from _lower("TEE TCB component", svn[first:], level.tdx_components[first:], first + 1)


def to_status(
    report: EnclaveReport | TdReport,
    qe_report: EnclaveReport,
    pck: PckExtensions,
    documents: tuple[TcbInfo, EnclaveIdentity],
    accepted: Collection[str],
) -> tuple[Shortfall, ...]:
    """
    Return what platform, TDX module and quoting enclave lack for levels with an accepted status.

    Where no level has one, or only the configuration has to change, that is nothing.
    """
    info, identity = documents
    svn = report.tee_tcb_svn if isinstance(report, TdReport) else b""
    found: list[Shortfall] = []
    level = _least(info.levels, accepted)
    if level is not None:
        found.extend(of_platform(pck, svn, level))
    if first_counted(svn):
        wanted = f"TDX_{svn[_MODULE_VERSION]:02X}"
        levels = next((one.levels for one in info.modules if one.id == wanted), ())
        found.extend(_of_enclave(f"{wanted} ISVSVN", svn[0], levels, accepted))
    found.extend(_of_enclave(f"{identity.id} ISVSVN", qe_report.isv_svn, identity.levels, accepted))
    return tuple(found)


def _of_enclave(
    name: str, found: int, levels: Sequence[Level], accepted: Collection[str]
) -> Iterator[Shortfall]:
    level = _least(levels, accepted)
    if level is not None:
        yield from _lower(name, (found,), level.components)


def _least(levels: Sequence[Level], accepted: Collection[str]) -> Level | None:
    """Return the lowest level whose status is accepted; they stand newest first."""
    return next((one for one in reversed(levels) if one.status.value in accepted), None)


def _lower(
    name: str, found: Sequence[int], want: Sequence[int], number: int | None = None
) -> Iterator[Shortfall]:
    for place, (one, least) in enumerate(zip(found, want, strict=True)):
        if one < least:
            yield Shortfall(name if number is None else f"{name} {place + number}", one, least)
