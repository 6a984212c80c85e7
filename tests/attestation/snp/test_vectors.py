"""The real evidence reaches its expected verdict, and no damaged copy of it is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from attestation import endorsements
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.cache import Cache
from attestation.certificate import read_certificate
from attestation.endorsements import Endorsements
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    ValidityError,
)
from attestation.snp import chain, evidence, roots
from attestation.snp.authenticate import Authenticated, authenticate
from attestation.snp.endorsements import read_extensions
from attestation.snp.report import SIZE
from tests import vectors
from tests.broken import manipulate
from tests.fakes import policies
from tests.vectors import Case

VERDICTS: dict[str, type[AuthenticationError]] = {
    "invalid: VCEK not signed by ASK": NotAuthenticError,
    "invalid: VLEK expired": ValidityError,
    'parses; VCEK not supplied (must be "cannot verify: no VCEK", not valid)': MissingEndorsementError,
    "invalid: 1185 bytes / bad signature fixture": EvidenceFormatError,
}
LONG_AGO = datetime(2024, 6, 1, tzinfo=UTC)


def supplied(case: Case) -> Endorsements:
    return endorsements.union(
        endorsements.parse(case.read(role)) for role in ("vek", "chain") if role in case.files
    )


def judge(report: bytes, case: Case, cache: Cache | None = None) -> Authenticated:
    now = case.time or LONG_AGO
    return authenticate(evidence.parse(report), supplied(case), roots.AMD, now=now, cache=cache)


@pytest.mark.parametrize("case", vectors.cases("snp", "snp-parse"))
def test_real_evidence_reaches_its_verdict(case: Case) -> None:
    if case.expected in VERDICTS:
        with pytest.raises(VERDICTS[case.expected]):
            judge(case.read("report"), case)
    else:
        assert case.expected.startswith("valid")
        proven = judge(case.read("report"), case)
        assert bool(proven.report.policy >> 19 & 1) == ("DEBUG" in case.expected)


@pytest.mark.parametrize("case", vectors.cases("snp-cert"))
def test_real_certificate_chain_is_valid(case: Case) -> None:
    certificates = [read_certificate(der) for der in supplied(case).certificates]
    proven = chain.build(certificates[:1], certificates, roots.AMD, Cache(), case.time)
    extensions = read_extensions(proven.leaf, proven.product)
    assert (proven.product.name, len(extensions.hwid or b"")) == ("Turin", 8)
    assert proven.leaf.serial == 0


@pytest.mark.parametrize("case", vectors.cases("azure", role="vek"))
def test_real_reports_inside_azure_evidence_are_authentic(case: Case) -> None:
    hcl = case.read("hcl")
    assert judge(hcl[0x20 : 0x20 + SIZE], case).chain.product.name == "Milan"


ACCEPTED = [case for case in vectors.load("snp") if case.expected.startswith("valid")]


@dataclass
class Damaged:
    case: Case
    cache: Cache
    report: bytes


@pytest.fixture(
    params=[pytest.param(case, id=case.id) for case in ACCEPTED]
    or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))]
)
def accepted(request: pytest.FixtureRequest) -> Damaged:
    case: Case = request.param
    return Damaged(case, Cache(), case.read("report"))


def test_real_evidence_is_affirmed_unless_it_can_be_debugged(accepted: Damaged) -> None:
    report = evidence.parse(accepted.report).report
    is_debug = "DEBUG" in accepted.case.expected
    arguments = {"binding": Exact(report.report_data), "now": accepted.case.time or LONG_AGO}
    fitting, contrary = ("set", "clear") if is_debug else ("clear", "set")
    rules = policies.policy(policies.lax(report.measurement, fitting))
    result = appraise(accepted.report, supplied(accepted.case), rules, **arguments)  # type: ignore[arg-type]
    assert "guest_policy.smt" in result.unchecked
    assert "guest_policy.debug" not in result.unchecked
    rules = policies.policy(policies.lax(report.measurement, contrary))
    with pytest.raises(AppraisalError) as caught:
        appraise(accepted.report, supplied(accepted.case), rules, **arguments)  # type: ignore[arg-type]
    assert [mismatch.field for mismatch in caught.value.mismatches] == ["guest_policy.debug"]
    assert caught.value.exit_code == 17


def test_no_bit_of_a_real_report_can_be_changed(accepted: Damaged) -> None:
    judge(accepted.report, accepted.case, accepted.cache)
    for damaged in manipulate.one_bit_in_each_byte(accepted.report, 0, SIZE):
        with pytest.raises((NotAuthenticError, EvidenceFormatError, MissingEndorsementError)):
            judge(damaged, accepted.case, accepted.cache)


def test_no_prefix_of_a_real_report_is_well_formed(accepted: Damaged) -> None:
    for prefix in manipulate.every_proper_prefix(accepted.report):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(prefix)


def test_real_report_is_not_simulated(accepted: Damaged) -> None:
    from attestation.simulated.roots import SIMULATED  # noqa: PLC0415  # one use

    with pytest.raises(NotAuthenticError, match="root of the chain"):
        authenticate(
            evidence.parse(accepted.report),
            supplied(accepted.case),
            SIMULATED,
            now=accepted.case.time or LONG_AGO,
        )


def test_roots_of_one_product_do_not_serve_another(accepted: Damaged) -> None:
    product = judge(accepted.report, accepted.case).chain.product
    others = {pin: other for pin, other in roots.AMD.products.items() if other is not product}
    with pytest.raises(NotAuthenticError, match="root of the chain"):
        authenticate(
            evidence.parse(accepted.report),
            supplied(accepted.case),
            roots.Roots("others", others),
            now=accepted.case.time or LONG_AGO,
        )
