"""
Which SEV-SNP reports are accepted?

One attribute per thing that a report can say.  Every one must be given in the policy, or spelled "unchecked";
but for the measurement: without it nothing says what was booted, so nothing could be affirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from attestation.policy_file import UNCHECKED, Checked, Section
from attestation.policy_values import (
    BitRules,
    ReferenceValue,
    abi,
    bit_rules,
    components,
    hexadecimal,
    integer,
    integers,
    mask,
    nonempty,
    one_of,
    reference_values,
    strings,
    version,
)
from attestation.snp import bits
from attestation.snp.products import Product
from attestation.snp.report import HOST_VMPL

TCB_KINDS = ("reported", "committed", "current", "launch")
# By product, then by one of TCB_KINDS: the lowest accepted value of each component.
TcbRules: TypeAlias = Mapping[str, Mapping[str, Checked[Mapping[str, int]]]]


@dataclass(frozen=True, slots=True)
class FirmwareRules:
    """
    Versions of the firmware of the secure processor.

    Attributes:
        current, committed: Lowest accepted version: major, minor, build.
        provisional: "refused" when current and committed firmware must be the same, TCB included: what is not
            committed can be rolled back.
    """

    current: Checked[tuple[int, int, int]]
    committed: Checked[tuple[int, int, int]]
    provisional: Checked[str]


@dataclass(frozen=True, slots=True)
class MitigationRules:
    """Bits that must be set in the mitigation vectors, at launch and now."""

    launch: Checked[int]
    current: Checked[int]


@dataclass(frozen=True, slots=True)
class SnpPolicy:
    """What a report must say; `attestation/examples/policy-snp.toml` explains each field."""

    measurement: tuple[ReferenceValue, ...]
    signer: Checked[str]
    vmpl: Checked[frozenset[int]]
    guest_svn: Checked[int]
    host_data: Checked[frozenset[bytes]]
    family_id: Checked[frozenset[bytes]]
    image_id: Checked[frozenset[bytes]]
    id_key_digest: Checked[frozenset[bytes]]
    author_key_digest: Checked[frozenset[bytes]]
    report_id: Checked[frozenset[bytes]]
    report_id_ma: Checked[frozenset[bytes]]
    chip_id: Checked[frozenset[bytes]]
    csp_id: Checked[frozenset[str]]
    abi: Checked[tuple[int, int]]
    guest_policy: BitRules
    platform_info: BitRules
    firmware: FirmwareRules
    mitigations: MitigationRules
    tcb: Checked[TcbRules]


def read(top: Section, products: Iterable[Product]) -> SnpPolicy:
    """Return the rules for a report; problems are left in `top`, which the caller closes."""
    report = top.section("report")
    guest_policy = top.section("guest_policy")
    platform_info = top.section("platform_info")
    firmware = top.section("firmware")
    mitigations = top.section("mitigations")
    policy = SnpPolicy(
        measurement=report.need("measurement", reference_values(48), ()),
        signer=report.take("signer", one_of("vcek", "vlek")),
        vmpl=report.take("vmpl", integers(0, 3, host=HOST_VMPL)),
        guest_svn=report.take("guest_svn", integer(0, 0xFFFFFFFF)),
        host_data=report.take("host_data", nonempty(hexadecimal(32))),
        family_id=report.take("family_id", nonempty(hexadecimal(16))),
        image_id=report.take("image_id", nonempty(hexadecimal(16))),
        id_key_digest=report.take("id_key_digest", nonempty(hexadecimal(48))),
        author_key_digest=report.take("author_key_digest", nonempty(hexadecimal(48))),
        report_id=report.take("report_id", nonempty(hexadecimal(32))),
        report_id_ma=report.take("report_id_ma", nonempty(hexadecimal(32))),
        chip_id=report.take("chip_id", nonempty(hexadecimal(64, 8))),
        csp_id=report.take("csp_id", strings),
        abi=guest_policy.take("abi", abi),
        guest_policy=bit_rules(guest_policy, bits.GUEST_POLICY),
        platform_info=bit_rules(platform_info, bits.PLATFORM_INFO),
        firmware=_firmware_rules(firmware),
        mitigations=_mitigation_rules(mitigations),
        tcb=_tcb_rules(top, products),
    )
    for section in (report, guest_policy, platform_info, firmware, mitigations):
        section.close()
    return policy


def _firmware_rules(section: Section) -> FirmwareRules:
    return FirmwareRules(
        current=section.take("current", version),
        committed=section.take("committed", version),
        provisional=section.take("provisional", one_of("refused")),
    )


def _mitigation_rules(section: Section) -> MitigationRules:
    return MitigationRules(launch=section.take("launch", mask), current=section.take("current", mask))


def _tcb_rules(top: Section, products: Iterable[Product]) -> Checked[TcbRules]:
    by_product = top.take_section("tcb")
    if by_product is UNCHECKED:
        return UNCHECKED
    rules: dict[str, Mapping[str, Checked[Mapping[str, int]]]] = {}
    for product in products:
        section = by_product.optional_section(product.name)
        if section is not None:
            rules[product.name] = _minima(section, product)
    by_product.close()
    return rules


def _minima(section: Section, product: Product) -> Mapping[str, Checked[Mapping[str, int]]]:
    minima = {kind: section.take(kind, components(product.tcb_components)) for kind in TCB_KINDS}
    section.close()
    return minima
