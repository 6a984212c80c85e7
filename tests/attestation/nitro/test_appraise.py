"""Every field of a policy for Nitro refuses what it is about, and nothing else."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from attestation.appraise import appraise
from attestation.binding import Exact, Nonce, Shim
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, PolicyError
from attestation.kinds import KINDS
from attestation.policy import load
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from tests.fakes import aws
from tests.fakes.aws import ALL_LISTS, MEMBERS, NOW, Nitro
from tests.fakes.policies import changed, policy

EXAMPLE = Path(__file__).resolve().parents[3] / "attestation" / "examples" / "policy-nitro.toml"
STRICT: dict[str, object] = {
    **tomllib.loads(EXAMPLE.read_text()),
    "binding": "exact",
    "crl": "required",
    "document": {
        "pcr0": [{"digest": "01" * 48, "label": "the fake"}],
        **{f"pcr{number}": [f"{number + 1:02x}" * 48] for number in (1, 2, 3, 4, 8)},
        "module_id": [MEMBERS["module_id"]],
        "debug": "refused",
        "max_age": 60,
    },
}


def judge(fake: Nitro, values: dict[str, object] = STRICT, **options: Any) -> AttestationResult:  # noqa: ANN401
    return appraise(
        fake.document(),
        Endorsements(revocation_lists=ALL_LISTS),
        policy(values),
        **{"binding": Exact(bytes(64)), "now": NOW, "roots": aws.roots(), **options},
    )


def refused(*arguments: Any, **options: Any) -> dict[str, Verdict]:  # noqa: ANN401  # see judge
    with pytest.raises(AppraisalError) as caught:
        judge(*arguments, **options)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policy_describes_is_affirmed() -> None:
    result = judge(Nitro())
    assert result.claims is not None
    assert (result.claims["reference"], result.claims["boot"], result.unchecked) == ("the fake", "nitro", ())


REGISTERS: Any = MEMBERS["pcrs"]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 8])
@pytest.mark.parametrize("how", ["another", "none"])
def test_one_register_that_is_not_accepted(number: int, how: str) -> None:
    pcrs = {**REGISTERS, number: bytes(48)}
    if how == "none":
        del pcrs[number]
    assert refused(Nitro(members={"pcrs": pcrs})) == {f"document.pcr{number}": Verdict.POLICY_MISMATCH}


def test_an_enclave_for_debugging() -> None:
    fake = Nitro(members={"pcrs": {**REGISTERS, **dict.fromkeys(range(3), bytes(48))}})
    assert "document.debug" in refused(fake)
    values = changed("document.pcr0", [{"digest": "00" * 48, "label": "debug"}], STRICT)
    for number in (1, 2):
        values = changed(f"document.pcr{number}", "unchecked", values)
    assert refused(fake, values) == {"document.debug": Verdict.POLICY_MISMATCH}
    assert judge(fake, changed("document.debug", "unchecked", values)).verdict is Verdict.AFFIRMING


def test_another_enclave() -> None:
    assert refused(Nitro(members={"module_id": "other"})) == {"document.module_id": Verdict.POLICY_MISMATCH}


def test_a_document_that_is_too_old() -> None:
    late = NOW + timedelta(seconds=1)
    assert refused(Nitro(), now=late) == {"document.max_age": Verdict.EXPIRED}


@pytest.mark.parametrize("user_data", [None, b"", bytes(63), b"\1" * 64])
def test_user_data_is_what_binds(user_data: bytes | None) -> None:
    assert refused(Nitro(members={"user_data": user_data})) == {"report.report_data": Verdict.WRONG_BINDING}


BY_NONCE = changed("binding", "nonce", STRICT)
NONCE = bytes(range(32))


def test_a_nonce_binds_where_the_policy_says_so() -> None:
    fake = Nitro(members={"nonce": NONCE, "user_data": b"anything"})
    assert judge(fake, BY_NONCE, binding=Nonce(NONCE)).unchecked == ()
    assert judge(fake, changed("binding", "unchecked", STRICT), binding=Nonce(NONCE)).unchecked == ()


@pytest.mark.parametrize("nonce", [None, b"", bytes(32), NONCE[:31], NONCE + b"\0"])
def test_another_nonce(nonce: bytes | None) -> None:
    fake = Nitro(members={"nonce": nonce})
    for values in (BY_NONCE, changed("binding", "unchecked", STRICT)):
        assert refused(fake, values, binding=Nonce(NONCE)) == {"report.nonce": Verdict.WRONG_BINDING}


@pytest.mark.parametrize("given", [None, Exact(bytes(64)), Shim(NONCE, None, bytes(32))])
def test_the_policy_and_not_the_caller_says_what_binds(given: Exact | Shim | None) -> None:
    fake = Nitro(members={"nonce": NONCE})
    assert refused(fake, BY_NONCE, binding=given) == {"binding": Verdict.WRONG_BINDING}
    assert refused(fake, STRICT, binding=Nonce(NONCE)) == {"binding": Verdict.WRONG_BINDING}


def test_a_nonce_of_another_length_is_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="want 32"):
        judge(Nitro(), BY_NONCE, binding=Nonce(bytes(31)))


def test_evidence_without_that_field_cannot_be_bound_by_it() -> None:
    for tee in KINDS:
        text = f'tee = "{tee}"\nbinding = "nonce"\n'
        with pytest.raises(PolicyError) as caught:
            load(text, "test.toml")
        assert ("binding" in {one.key for one in caught.value.problems}) == (tee != "nitro")


def test_what_was_booted_cannot_be_left_unchecked() -> None:
    with pytest.raises(PolicyError):
        policy(changed("document.pcr0", "unchecked", STRICT))


def test_the_example_can_be_loaded() -> None:
    assert load(EXAMPLE.read_text(), EXAMPLE.name).tee == "nitro"
