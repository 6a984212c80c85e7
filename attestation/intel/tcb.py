"""
How old is the platform's trusted computing base, in Intel's words?

The platform, the TDX module and the quoting enclave each have a level; the status of all is that of the
platform, made worse by what is out of date of the other two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from attestation.errors import NotAuthenticError, TcbError
from attestation.intel import shortfall
from attestation.intel.endorsements import PckExtensions
from attestation.intel.report import EnclaveReport, TdReport
from attestation.intel.tcb_info import EnclaveIdentity, Level, ModuleIdentity, TcbInfo, TcbStatus

SOURCE = 'Intel SGX and TDX Provisioning Certification Service, API version 4, "Determining TCB status"'
_OUT_OF_DATE = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
_UP_TO_DATE = {
    TcbStatus.OUT_OF_DATE: TcbStatus.UP_TO_DATE,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: TcbStatus.CONFIGURATION_NEEDED,
}

# Nothing says how others would count for all together.
_OF_ENCLAVES = (TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED)


@dataclass(frozen=True, slots=True)
class Tcb:
    """
    The level of a platform's trusted computing base.

    Attributes:
        status: Of all together.
        platform, module, qe: The level of each; None for a module of TDX 1.0 and for SGX.
        advisories: What is not dealt with in any of them, sorted.
        evaluation: The lower of the numbers of the TCB recoveries that the documents take into account.
        relaunch_advised: Whether the module that the domain was launched under is out of date, but the one
            that the platform runs by now is not (TDX 1.5).
    """

    status: TcbStatus
    platform: Level
    module: Level | None
    qe: Level
    advisories: tuple[str, ...]
    evaluation: int
    relaunch_advised: bool

    @property
    def summary(self) -> str:
        """The status of all together, and of each."""
        module = "" if self.module is None else f", TDX module {self.module.status.value}"
        parts = f"platform {self.platform.status.value}{module}, QE {self.qe.status.value}"
        return f"{self.status.value} ({parts})"


@dataclass(frozen=True, slots=True)
class Recovery:
    """
    What a platform will be when a TCB recovery that Intel has announced is in force.

    Attributes:
        evaluation: The number of the recovery; None if its documents say nothing about the platform.
        tcb: The level; None if there is none as low as the platform's, or the documents are not good.
        reason: Why there is none.
    """

    evaluation: int | None
    tcb: Tcb | None
    reason: str


def evaluate(
    report: EnclaveReport | TdReport,
    qe_report: EnclaveReport,
    pck: PckExtensions,
    info: TcbInfo,
    identity: EnclaveIdentity,
) -> Tcb:
    """
    Return the level of the platform that made a quote.

    Raises:
        NotAuthenticError: the documents are not about this platform, its module or its quoting enclave.
        TcbError: no level of Intel's is as low as this one.

    Not checked:
        That the documents are genuine and current.

    Source:
        Intel SGX and TDX Provisioning Certification Service, API version 4, "Get TCB Info", "Determining TCB
        status".
    """
    _check_family(pck, info)
    svn = report.tee_tcb_svn if isinstance(report, TdReport) else b""
    module = _module_level(report, svn, info) if isinstance(report, TdReport) else None
    platform = _platform_level(pck, svn, info)
    qe = _qe_level(qe_report, identity)
    for name, level in (("TDX module", module), (identity.id, qe)):
        if level is not None and level.status not in _OF_ENCLAVES:
            want = ", ".join(status.value for status in _OF_ENCLAVES)
            raise TcbError(f"{name} status", level.status.value, want, SOURCE)
    levels = [level for level in (platform, module, qe) if level is not None]
    return Tcb(
        status=converged(platform.status, [level.status for level in levels[1:]]),
        platform=platform,
        module=module,
        qe=qe,
        advisories=tuple(sorted({advisory for level in levels for advisory in level.advisories})),
        evaluation=min(info.evaluation, identity.evaluation),
        relaunch_advised=_relaunch_advised(report, module, info),
    )


def with_grace(tcb: Tcb, now: datetime, platform: timedelta, qe: timedelta) -> TcbStatus:
    """
    Return the status of all together where what became out of date not too long ago counts as up to date.

    Args:
        tcb: The level.
        now: The time to judge at, with its time zone.
        platform: For how long after the date of its level the platform counts as up to date, and its module.
        qe: The same for the quoting enclave.
    """
    others = [_pardoned(tcb.qe, now, qe)]
    if tcb.module is not None:
        others.append(_pardoned(tcb.module, now, platform))
    return converged(_pardoned(tcb.platform, now, platform), others)


def _pardoned(level: Level, now: datetime, grace: timedelta) -> TcbStatus:
    is_recent = grace and level.date + grace >= now
    return _UP_TO_DATE.get(level.status, level.status) if is_recent else level.status


def converged(platform: TcbStatus, others: Iterable[TcbStatus]) -> TcbStatus:
    """Return the status of a platform together with its module and quoting enclave."""
    found = {platform, *others}
    if TcbStatus.REVOKED in found:
        return TcbStatus.REVOKED
    return _OUT_OF_DATE.get(platform, platform) if TcbStatus.OUT_OF_DATE in found else platform


def _check_family(pck: PckExtensions, info: TcbInfo) -> None:
    for field, found, want in (("fmspc", info.fmspc, pck.fmspc), ("pceId", info.pce_id, pck.pce_id)):
        if found != want:
            raise NotAuthenticError(f"tcbInfo.{field}", found.hex(), f"{want.hex()} of the PCK", SOURCE)


def _platform_level(pck: PckExtensions, svn: bytes, info: TcbInfo) -> Level:
    for level in info.levels:
        if next(shortfall.of_platform(pck, svn, level), None) is None:
            return level
    if not info.levels:
        raise TcbError("platform TCB", "no level", "some in the TCB info", SOURCE)
    short = tuple(shortfall.of_platform(pck, svn, info.levels[-1]))
    found = ", ".join(f"{one.component} is {one.found}" for one in short)
    want = ", ".join(f"{one.component} at least {one.want}" for one in short)
    raise TcbError("platform TCB", found, f"{want}, as in the lowest level", SOURCE)


def _module_level(report: TdReport, svn: bytes, info: TcbInfo) -> Level | None:
    version = svn[1]
    identity = _module(version, info)
    for field, found, want in (
        ("MRSIGNERSEAM", report.mr_signer_seam, identity.mr_signer),
        ("SEAMATTRIBUTES", _masked(report.seam_attributes, identity.attributes_mask), identity.attributes),
    ):
        if found != want:
            raise NotAuthenticError(f"report.{field}", found.hex(), f"{want.hex()} of {identity.id}", SOURCE)
    return _enclave_level(svn[0], identity.levels, identity.id) if version else None


def _module(version: int, info: TcbInfo) -> ModuleIdentity:
    if version == 0 and info.module is not None:
        return info.module
    wanted = f"TDX_{version:02X}"
    for identity in info.modules:
        if identity.id == wanted and version:
            return identity
    known = ", ".join(identity.id for identity in info.modules) or "none"
    raise TcbError("TDX module", wanted, f"one of the TCB info: {known}", SOURCE)


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(one & bits for one, bits in zip(value, mask, strict=True))


def _qe_level(report: EnclaveReport, identity: EnclaveIdentity) -> Level:
    misc = report.misc_select & identity.misc_select_mask
    for field, found, want in (
        ("MISCSELECT", f"{misc:08x}", f"{identity.misc_select:08x}"),
        ("ATTRIBUTES", _masked(report.attributes, identity.attributes_mask).hex(), identity.attributes.hex()),
        ("MRSIGNER", report.mr_signer.hex(), identity.mr_signer.hex()),
        ("ISVPRODID", str(report.isv_prod_id), str(identity.isv_prod_id)),
    ):
        if found != want:
            raise NotAuthenticError(f"QE report.{field}", found, f"{want} of {identity.id}", SOURCE)
    return _enclave_level(report.isv_svn, identity.levels, identity.id)


def _enclave_level(svn: int, levels: Sequence[Level], name: str) -> Level:
    for level in levels:
        if svn >= level.components[0]:
            return level
    lowest = levels[-1].components[0] if levels else "some level"
    raise TcbError(f"{name} ISVSVN", str(svn), f"at least {lowest}", SOURCE)


def _relaunch_advised(report: EnclaveReport | TdReport, module: Level | None, info: TcbInfo) -> bool:
    """Whether the platform's module has been updated since the domain was launched."""
    if not isinstance(report, TdReport) or report.tee_tcb_svn2 is None or module is None:
        return False
    if module.status is not TcbStatus.OUT_OF_DATE:
        return False
    try:
        now = _module_level(report, report.tee_tcb_svn2, info)
    except (NotAuthenticError, TcbError):
        return False
    return now is not None and now.status is TcbStatus.UP_TO_DATE
