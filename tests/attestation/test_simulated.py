"""The simulation works for who asks for it by name, says so everywhere, and is never mistaken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from attestation import kinds
from attestation.appraise import appraise
from attestation.binding import Exact, Shim, report_data
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError
from attestation.policy import Policy, load
from attestation.simulated import collect as simulated
from attestation.simulated.roots import SIMULATED
from attestation.snp.roots import AMD
from attestation.verdict import Verdict
from tests.fakes import amd
from tests.fakes.amd import Amd, Chip
from tests.fakes.policies import changed, policy

NOW = datetime(2031, 1, 1, tzinfo=UTC)
EXAMPLES = Path(__file__).resolve().parents[2] / "attestation" / "examples"
BINDING = Shim(b"n" * 32, b"k" * 32, b"p" * 32)
EVIDENCE, ENDORSEMENTS = simulated.collect(report_data(b"n" * 32, b"k" * 32, b"p" * 32))


def example() -> Policy:
    return load((EXAMPLES / "policy-simulated.toml").read_text(), "policy-simulated.toml")


def test_simulation_is_affirmed_by_name_and_says_so() -> None:
    result = appraise(EVIDENCE, ENDORSEMENTS, example(), binding=BINDING, now=NOW)
    assert (result.verdict, result.simulated) == (Verdict.AFFIRMING, True)
    assert b'"tee":"SIMULATED"' in result.to_json()


def test_its_certificates_need_not_be_supplied() -> None:
    assert appraise(EVIDENCE, Endorsements(), example(), binding=BINDING, now=NOW).simulated


def test_refusal_says_simulated_too() -> None:
    with pytest.raises(AppraisalError, match=r"^SIMULATED: stale nonce") as caught:
        appraise(EVIDENCE, ENDORSEMENTS, example(), binding=Shim(bytes(32), None, bytes(32)), now=NOW)
    assert caught.value.exit_code == 15


def test_policy_for_hardware_refuses_the_simulation() -> None:
    hardware = policy(changed("crl", "unchecked"))
    with pytest.raises(AppraisalError) as caught:
        appraise(EVIDENCE, ENDORSEMENTS, hardware, binding=Exact(bytes(64)), now=NOW)
    assert caught.value.exit_code == 11


def test_policy_for_the_simulation_refuses_hardware() -> None:
    chip = Chip()
    supplied = Amd().endorsements(chip)
    with pytest.raises(AppraisalError) as caught:
        appraise(chip.report(5), supplied, example(), binding=Exact(bytes(64)), now=amd.NOW)
    assert caught.value.exit_code == 11


def test_roots_of_hardware_and_simulation_have_nothing_in_common() -> None:
    assert not set(AMD.products) & set(SIMULATED.products)
    assert not set(AMD.products.values()) & set(SIMULATED.products.values())
    assert [name for name, kind in kinds.KINDS.items() if kind.simulated] == ["simulated"]
    assert len({pin for kind in kinds.KINDS.values() for pin in kind.roots.keys}) == 7
    real = {pin for kind in kinds.KINDS.values() if not kind.simulated for pin in kind.roots.keys}
    assert real.isdisjoint(kinds.KINDS["simulated"].roots.keys)


def test_same_question_gives_the_same_evidence() -> None:
    assert simulated.collect(bytes(64)) == simulated.collect(bytes(64))
    assert simulated.collect(bytes(64))[0] != EVIDENCE


def test_every_certificate_says_that_it_is_no_hardware() -> None:
    from attestation.certificate import read_certificate  # noqa: PLC0415  # one use

    for der in ENDORSEMENTS.certificates:
        certificate = read_certificate(der)
        for name in (certificate.subject, certificate.issuer):
            assert "SIMULATED, not hardware" in name.rfc4514_string().replace("\\", "")


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_of_another_length_is_the_callers_bug(size: int) -> None:
    with pytest.raises(ValueError, match="64"):
        simulated.collect(bytes(size))
