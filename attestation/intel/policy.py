"""
Which TDX and SGX quotes are accepted?

One attribute per thing that a quote can say.  Every one must be given in the policy, or spelled "unchecked";
but for the measurements that say what runs: without them nothing could be affirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from attestation.intel import bits
from attestation.intel.endorsements import SGX_TYPES
from attestation.intel.tcb_info import TcbStatus
from attestation.policy_file import Checked, Section
from attestation.policy_values import (
    BitRules,
    ReferenceValue,
    bit,
    bit_rules,
    hexadecimal,
    integer,
    mask,
    nonempty,
    reference_values,
    some_of,
    strings,
)

Values: TypeAlias = Checked[frozenset[bytes]]
_REGISTERS = range(4)
_DAYS = integer(0, 3650)


@dataclass(frozen=True, slots=True)
class TcbRules:
    """
    How old the platform may be.

    Attributes:
        status: What Intel may say of it.
        rejected_advisories: Advisories that must have been dealt with.
        evaluation: The lowest number of a TCB recovery that the collateral must take into account.
        platform_grace, qe_grace: How long what became out of date still counts as up to date.
        qe_svn, pce_svn: The lowest security versions of the two enclaves.
        tee_svn: The lowest security versions of the TDX module and what loads it, each of 16 bytes apart.
    """

    status: Checked[frozenset[str]]
    rejected_advisories: Checked[frozenset[str]]
    evaluation: Checked[int]
    platform_grace: timedelta
    qe_grace: timedelta
    qe_svn: Checked[int]
    pce_svn: Checked[int]
    tee_svn: Checked[bytes]


@dataclass(frozen=True, slots=True)
class PlatformRules:
    """
    Which platforms.

    Attributes:
        fmspc: Their families.
        ppid, instance_id: They themselves: a package, and all packages of a machine together.
        sgx_type: How their memory is protected.
        flags: What else their certificates say of them.
    """

    fmspc: Values
    ppid: Values
    instance_id: Values
    sgx_type: Checked[frozenset[str]]
    flags: BitRules


@dataclass(frozen=True, slots=True)
class TdxPolicy:
    """What a trust domain's quote must say; `attestation/examples/policy-tdx.toml` explains each field."""

    mr_td: tuple[ReferenceValue, ...]
    rtmrs: tuple[Values, ...]
    mr_seam: Values
    mr_signer_seam: Values
    seam_attributes: Values
    mr_config_id: Values
    mr_owner: Values
    mr_owner_config: Values
    mr_service_td: Values
    td_attributes: BitRules
    xfam_required: Checked[int]
    xfam_allowed: Checked[int]
    tcb: TcbRules
    platform: PlatformRules


@dataclass(frozen=True, slots=True)
class SgxPolicy:
    """What the quote of an enclave must say; `attestation/examples/policy-sgx.toml` explains each field."""

    mr_enclave: tuple[ReferenceValue, ...]
    mr_signer: Values
    isv_prod_id: Checked[int]
    isv_svn: Checked[int]
    config_id: Values
    config_svn: Checked[int]
    attributes: BitRules
    misc_select: Checked[int]
    tcb: TcbRules
    platform: PlatformRules


def read_tdx(top: Section) -> TdxPolicy:
    """Return the rules for a trust domain; problems are left in `top`, which the caller closes."""
    report, attributes, xfam = top.section("report"), top.section("td_attributes"), top.section("xfam")
    digests = nonempty(hexadecimal(48))
    policy = TdxPolicy(
        mr_td=report.need("mr_td", reference_values(48), ()),
        rtmrs=tuple(_register(report, f"rtmr{number}") for number in _REGISTERS),
        mr_seam=report.take("mr_seam", digests),
        mr_signer_seam=report.take("mr_signer_seam", digests),
        seam_attributes=report.take("seam_attributes", nonempty(hexadecimal(8))),
        mr_config_id=report.take("mr_config_id", digests),
        mr_owner=report.take("mr_owner", digests),
        mr_owner_config=report.take("mr_owner_config", digests),
        mr_service_td=report.take("mr_service_td", digests),
        td_attributes=bit_rules(attributes, bits.TD_ATTRIBUTES),
        xfam_required=xfam.take("required", mask),
        xfam_allowed=xfam.take("allowed", mask),
        tcb=_tcb_rules(top, has_module=True),
        platform=_platform_rules(top),
    )
    for section in (report, attributes, xfam):
        section.close()
    return policy


def _register(report: Section, name: str) -> Values:
    """Registers 1 and 2 hold kernel, initrd and command line: without them nothing says what was booted."""
    reader = nonempty(hexadecimal(48))
    nothing: frozenset[bytes] = frozenset()
    return report.need(name, reader, nothing) if name in {"rtmr1", "rtmr2"} else report.take(name, reader)


def read_sgx(top: Section) -> SgxPolicy:
    """Return the rules for an enclave; problems are left in `top`, which the caller closes."""
    report, attributes = top.section("report"), top.section("attributes")
    policy = SgxPolicy(
        mr_enclave=report.need("mr_enclave", reference_values(32), ()),
        mr_signer=report.take("mr_signer", nonempty(hexadecimal(32))),
        isv_prod_id=report.take("isv_prod_id", integer(0, 0xFFFF)),
        isv_svn=report.take("isv_svn", integer(0, 0xFFFF)),
        config_id=report.take("config_id", nonempty(hexadecimal(64))),
        config_svn=report.take("config_svn", integer(0, 0xFFFF)),
        attributes=bit_rules(attributes, bits.ENCLAVE_ATTRIBUTES),
        misc_select=report.take("misc_select", integer(0, 0xFFFFFFFF)),
        tcb=_tcb_rules(top, has_module=False),
        platform=_platform_rules(top),
    )
    for section in (report, attributes):
        section.close()
    return policy


def _tcb_rules(top: Section, *, has_module: bool) -> TcbRules:
    section = top.section("tcb")
    rules = TcbRules(
        status=section.take("status", some_of(*(status.value for status in TcbStatus))),
        rejected_advisories=section.take("rejected_advisories", strings),
        evaluation=section.take("evaluation", integer(0, 1 << 31)),
        platform_grace=timedelta(days=section.need("platform_grace", _DAYS, 0)),
        qe_grace=timedelta(days=section.need("qe_grace", _DAYS, 0)),
        qe_svn=section.take("qe_svn", integer(0, 0xFFFF)),
        pce_svn=section.take("pce_svn", integer(0, 0xFFFF)),
        tee_svn=section.take("tee_svn", hexadecimal(16)) if has_module else b"",
    )
    section.close()
    return rules


def _platform_rules(top: Section) -> PlatformRules:
    section = top.section("platform")
    rules = PlatformRules(
        fmspc=section.take("fmspc", nonempty(hexadecimal(6))),
        ppid=section.take("ppid", nonempty(hexadecimal(16))),
        instance_id=section.take("instance_id", nonempty(hexadecimal(16))),
        sgx_type=section.take("sgx_type", some_of(*SGX_TYPES.values())),
        flags={name: section.take(name, bit) for name in bits.PLATFORM},
    )
    section.close()
    return rules
