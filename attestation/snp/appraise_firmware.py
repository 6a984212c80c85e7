"""Is the firmware below the guest new enough, and will it stay so?"""

from __future__ import annotations

from collections.abc import Iterator

from attestation.policy_file import UNCHECKED, Checked
from attestation.result import Mismatch
from attestation.snp.policy import SnpPolicy
from attestation.snp.products import Product
from attestation.snp.report import SOURCE, FirmwareVersion, Report
from attestation.verdict import Verdict

_TCB_SOURCE = 'AMD 56860 r1.58, section 2.2, "TCB Version"'


def appraise_firmware(report: Report, product: Product, policy: SnpPolicy) -> Iterator[Mismatch]:
    """
    Yield everything in which the firmware differs from what `policy` accepts, and from what is possible.

    Comparisons that could make sense and do not: LAUNCH_TCB may be above REPORTED_TCB, which the host sets as
    low as it likes, and above CURRENT_TCB, when the guest came from another machine; COMMITTED_TCB may be
    above REPORTED_TCB for the same reason as the first.
    """
    yield from _consistency(report, product)
    yield from _tcb(report, product, policy)
    yield from _version("current", report.current_version, policy.firmware.current)
    yield from _version("committed", report.committed_version, policy.firmware.committed)
    if policy.firmware.provisional is not UNCHECKED:
        yield from _provisional(report)
    yield from _mitigations("launch", report.launch_mit_vector, policy.mitigations.launch)
    yield from _mitigations("current", report.current_mit_vector, policy.mitigations.current)


def _consistency(report: Report, product: Product) -> Iterator[Mismatch]:
    current = product.tcb(report.current_tcb)
    for kind, raw in (("reported", report.reported_tcb), ("committed", report.committed_tcb)):
        for component, svn in product.tcb(raw).items():
            if svn > current[component]:
                want = f"at most {current[component]}, the current one"
                yield Mismatch(f"report.{kind}_tcb.{component}", str(svn), want, _TCB_SOURCE)
    if report.committed_version > report.current_version:
        want = f"at most {report.current_version}, the current one"
        yield Mismatch("report.committed_version", str(report.committed_version), want, SOURCE)


def _tcb(report: Report, product: Product, policy: SnpPolicy) -> Iterator[Mismatch]:
    if policy.tcb is UNCHECKED:
        return
    if product.name not in policy.tcb:
        yield Mismatch("tcb", f"a {product.name} processor", " or ".join(policy.tcb), _TCB_SOURCE)
        return
    versions = {
        "reported": report.reported_tcb,
        "committed": report.committed_tcb,
        "current": report.current_tcb,
        "launch": report.launch_tcb,
    }
    for kind, minima in policy.tcb[product.name].items():
        if minima is UNCHECKED:
            continue
        for component, svn in product.tcb(versions[kind]).items():
            if svn < minima[component]:
                want = f"at least {minima[component]} ({minima[component] - svn} short)"
                field = f"tcb.{product.name}.{kind}.{component}"
                yield Mismatch(field, str(svn), want, _TCB_SOURCE, Verdict.TCB_TOO_LOW)


def _version(
    which: str, found: FirmwareVersion, minimum: Checked[tuple[int, int, int]]
) -> Iterator[Mismatch]:
    if minimum is not UNCHECKED and found < FirmwareVersion(*minimum):
        want = f"at least {FirmwareVersion(*minimum)}"
        yield Mismatch(f"firmware.{which}", str(found), want, SOURCE, Verdict.TCB_TOO_LOW)


def _provisional(report: Report) -> Iterator[Mismatch]:
    if report.committed_version != report.current_version:
        want = f"committed, but {report.committed_version} is"
        yield Mismatch("firmware.provisional", f"version {report.current_version}", want, SOURCE)
    if report.committed_tcb != report.current_tcb:
        want = f"committed, but {report.committed_tcb.hex()} is"
        yield Mismatch("firmware.provisional", f"TCB {report.current_tcb.hex()}", want, _TCB_SOURCE)


def _mitigations(which: str, found: int | None, wanted: Checked[int]) -> Iterator[Mismatch]:
    if wanted is UNCHECKED:
        return
    want = f"bits 0x{wanted:x} set"
    if found is None:
        yield Mismatch(f"mitigations.{which}", "no mitigation vector", want, SOURCE, Verdict.TCB_TOO_LOW)
    elif wanted & ~found:
        text = f"0x{found:x}, without 0x{wanted & ~found:x}"
        yield Mismatch(f"mitigations.{which}", text, want, SOURCE, Verdict.TCB_TOO_LOW)
