"""Whose TPM it is: certificates of endorsement keys, each thing that can be wrong with one, and what a policy asks of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.endorsements import Endorsements
from attestation.errors import (
    ActivationError,
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    PolicyError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.kinds import KINDS
from attestation.result import AttestationResult
from attestation.tpm import credential, evidence, public_area
from attestation.tpm.authenticate import Authenticated, authenticate
from attestation.tpm.credential import Target
from attestation.verdict import Verdict
from tests.attestation.tpm.test_tpm import STRICT
from tests.fakes import tpm
from tests.fakes.aws import MADE, NOW
from tests.fakes.endorsement import EK, NAMES, STORAGE, Endorsed
from tests.fakes.policies import changed, policy
from tests.fakes.tpm import AK, Tpm, certificate, revocation_list

MAKER = certificate("maker", "maker")
ROOT = tpm.spki(tpm.rsa_key("maker")).hex()
GOOD = Endorsed()
P256 = Endorsed(curve="P-256")
SOFTWARE = replace(GOOD, names=(NAMES[0], ("2.23.133.2.2", "swtpm"), NAMES[2]))
TLS_SERVER = "1.3.6.1.5.5.7.3.1"


def evidence_of(endorsed: Endorsed | None, fake: Tpm | None = None) -> bytes:
    parts = (fake or Tpm()).parts()
    return json.dumps({**parts, **({} if endorsed is None else endorsed.parts())}).encode()


def judge(
    endorsed: Endorsed, *more: bytes, lists: tuple[bytes, ...] = (), crl: bool = False
) -> Authenticated:
    supplied = Endorsements(more or (MAKER,), lists)
    parsed = evidence.parse(evidence_of(endorsed))
    return authenticate(parsed, supplied, KINDS["tpm"].roots, now=NOW, crl_required=crl)


@pytest.mark.parametrize(
    "endorsed", [GOOD, P256, replace(GOOD, padding=b"\xff" * 40), replace(P256, padding=bytes(9))]
)
def test_a_certificate_leads_to_its_makers_root(endorsed: Endorsed) -> None:
    found = judge(endorsed).endorsement
    assert found is not None
    assert (found.manufacturer, found.model, found.version) == ("id:53484D00", "chip", "id:1")
    assert [one.common_name for one in found.chain] == ["endorsement certificate", "maker"]
    assert found.key == public_area.parse_storage(endorsed.public())


WRONG: dict[str, tuple[Endorsed, type[AuthenticationError], str]] = {
    "another key than the certified one": (Endorsed(key="other"), NotAuthenticError, "endorsement key"),
    "made for a server": (Endorsed(purposes=(TLS_SERVER,)), NotAuthenticError, "endorsement certificate"),
    "made for nothing": (Endorsed(purposes=()), NotAuthenticError, "endorsement certificate"),
    "for no keys": (Endorsed(receives_keys=False), NotAuthenticError, "endorsement certificate"),
    "an authority": (Endorsed(authority=True), NotAuthenticError, "endorsement certificate"),
    "no names": (Endorsed(names=()), NotAuthenticError, "endorsement certificate"),
    "no model": (Endorsed(names=(NAMES[0], NAMES[2])), NotAuthenticError, "endorsement certificate"),
    "two models": (
        Endorsed(names=(*NAMES, ("2.23.133.2.2", "swtpm"))),
        NotAuthenticError,
        "endorsement certificate",
    ),
    "signed by another": (Endorsed(signer="other"), SignatureError, "endorsement certificate"),
    "expired": (Endorsed(start=MADE - timedelta(days=9)), ValidityError, "endorsement certificate"),
    "a short key": (Endorsed(bits=1024), NotAuthenticError, "endorsement key"),
    "something critical": (Endorsed(critical="1.2.3"), NotAuthenticError, "endorsement certificate"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong(name: str) -> None:
    endorsed, error, where = WRONG[name]
    with pytest.raises(error) as caught:
        judge(endorsed)
    assert type(caught.value) is error
    assert caught.value.where == where


@pytest.mark.parametrize("missing", STORAGE)
def test_a_key_that_others_could_have_or_use(missing: str) -> None:
    attributes = tuple(one for one in STORAGE if one != missing)
    with pytest.raises(NotAuthenticError) as caught:
        judge(Endorsed(attributes=attributes))
    assert (caught.value.where, caught.value.found) == ("endorsement key", f"not {missing}")


def test_a_key_that_signs_too_is_none_for_credentials() -> None:
    with pytest.raises(NotAuthenticError, match="endorsement key: found sign"):
        judge(Endorsed(attributes=(*STORAGE, "sign")))


def test_its_maker_may_take_a_certificate_back() -> None:
    assert len(judge(GOOD, lists=(revocation_list("maker"),), crl=True).revocation_lists) == 1
    with pytest.raises(RevokedError):
        judge(GOOD, lists=(revocation_list("maker", 9),))
    with pytest.raises(MissingEndorsementError):
        judge(GOOD, crl=True)


def test_an_issuer_has_to_be_there() -> None:
    with pytest.raises(MissingEndorsementError, match="CN=maker"):
        judge(GOOD, certificate("other", "other"))


@pytest.mark.parametrize("part", ["ek_public", "ek_certificate"])
def test_parts_that_are_missing_or_cut(part: str) -> None:
    whole = json.loads(evidence_of(P256))
    with pytest.raises(EvidenceFormatError):
        evidence.parse(json.dumps({name: text for name, text in whole.items() if name != part}).encode())
    for size in range(0, len(whole[part]), 2):
        text = json.dumps({**whole, part: whole[part][:size]}).encode()
        with pytest.raises(EvidenceFormatError):
            authenticate(evidence.parse(text), Endorsements((MAKER,)), KINDS["tpm"].roots, now=NOW)
    two = json.dumps({**whole, "ek_certificate": whole["ek_certificate"] * 2}).encode()
    with pytest.raises(EvidenceFormatError, match="2 certificates"):
        evidence.parse(two)


def asked(**ek: object) -> dict[str, object]:
    """A policy that takes any attestation key in a TPM of the maker's."""
    usual = {"root": [ROOT], "software_root": "unchecked", "activation": "required"}
    return {**STRICT, "ak": {"key": "unchecked", "root": "unchecked"}, "ek": {**usual, **ek}}


def appraised(
    endorsed: Endorsed | None,
    values: dict[str, object],
    activated: Target | None = None,
    fake: Tpm | None = None,
    *,
    asks: bool = False,
) -> AttestationResult:
    return appraise(
        evidence_of(endorsed, fake),
        Endorsements((MAKER,)),
        policy(values),
        binding=Exact(bytes(64)),
        now=NOW,
        activated=activated,
        asks=asks,
    )


def refused(
    endorsed: Endorsed | None,
    values: dict[str, object],
    activated: Target | None = None,
    fake: Tpm | None = None,
) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        appraised(endorsed, values, activated, fake)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def target(endorsed: Endorsed = GOOD, fake: Tpm | None = None) -> Target:
    return Target(public_area.parse_storage(endorsed.public()), (fake or Tpm()).name())


def test_nothing_is_affirmed_before_a_credential_was_opened() -> None:
    with pytest.raises(ActivationError) as caught:
        appraised(GOOD, asked())
    assert caught.value.target == target()
    assert caught.value.result.verdict is Verdict.CANNOT_TELL
    assert [one.field for one in caught.value.mismatches] == ["ek.activation"]
    assert appraised(GOOD, asked(), target()).verdict is Verdict.AFFIRMING


@pytest.mark.parametrize(
    "other", [target(P256), target(Endorsed(key="other", certified="other")), target(fake=Tpm(key="other"))]
)
def test_a_credential_for_other_keys_shows_nothing(other: Target) -> None:
    assert refused(GOOD, asked(), other) == {"ek.activation": Verdict.CANNOT_TELL}


def test_only_a_tpm_with_both_keys_opens_it() -> None:
    for endorsed in (GOOD, P256):
        data = credential.make(target(endorsed), b"s" * 32, os.urandom)
        assert endorsed.open(data, Tpm().name()) == b"s" * 32
        assert endorsed.open(data, Tpm(key="other").name()) is None


@given(st.binary(max_size=32), st.sampled_from([GOOD, P256]))
@settings(max_examples=40, deadline=None)
def test_any_secret_arrives(secret: bytes, endorsed: Endorsed) -> None:
    data = credential.make(target(endorsed), secret, os.urandom)
    assert endorsed.open(data, Tpm().name()) == secret


def test_every_difference_is_told_and_a_caller_that_asks_hears_of_the_rest_first() -> None:
    values = changed("pcrs.pcr11", ["00" * 32], asked())
    both = {"pcrs.pcr11": Verdict.POLICY_MISMATCH, "ek.activation": Verdict.CANNOT_TELL}
    assert refused(GOOD, values) == both
    with pytest.raises(AppraisalError) as caught:
        appraised(GOOD, values, asks=True)
    assert not isinstance(caught.value, ActivationError)
    assert [one.field for one in caught.value.mismatches] == ["pcrs.pcr11"]
    with pytest.raises(ActivationError):
        appraised(GOOD, asked(), asks=True)


def test_another_maker_is_refused_and_no_credential_made() -> None:
    values = asked(root=["00" * 32])
    assert refused(GOOD, values, target()) == {"ek.root": Verdict.NOT_AUTHENTIC}
    with pytest.raises(AppraisalError) as caught:
        appraised(GOOD, values, asks=True)
    assert not isinstance(caught.value, ActivationError)


def test_evidence_without_an_endorsement_key_is_not_enough() -> None:
    assert refused(None, asked()) == {"ek.root": Verdict.CANNOT_TELL}


def test_a_key_that_may_have_come_from_outside_is_refused() -> None:
    for missing in ("fixed_parent", "sensitive_data_origin"):
        fake = Tpm(attributes=tuple(one for one in AK if one != missing))
        assert refused(GOOD, asked(), target(fake=fake), fake) == {f"ak.{missing}": Verdict.NOT_AUTHENTIC}


def test_a_tpm_in_software_is_labelled_and_never_taken_for_hardware() -> None:
    values = asked(root="unchecked", software_root=[ROOT])
    result = appraised(SOFTWARE, values, target(SOFTWARE))
    assert (result.software, result.label) == (True, "SOFTWARE TPM")
    assert json.loads(result.to_json())["tee"] == "SOFTWARE TPM"
    with pytest.raises(AppraisalError, match=r"^SOFTWARE TPM: cannot tell: ek\.activation: "):
        appraised(SOFTWARE, values)
    assert refused(SOFTWARE, asked(), target(SOFTWARE)) == {"ek.model": Verdict.NOT_AUTHENTIC}
    assert appraised(GOOD, asked(), target()).label == "tpm"


def test_a_key_that_is_named_needs_no_credential() -> None:
    values = {**STRICT, "ek": {"root": [ROOT], "software_root": "unchecked", "activation": "unchecked"}}
    result = appraised(GOOD, values)
    assert result.unchecked == ("crl", "ak.root", "ek.software_root", "ek.activation")
    assert refused(GOOD, values, fake=Tpm(key="other", signer="other")) == {"ak.key": Verdict.NOT_AUTHENTIC}


@pytest.mark.parametrize(
    "ek",
    [
        {"root": "unchecked", "software_root": "unchecked", "activation": "required"},
        {"root": ["00" * 32], "software_root": ["11" * 32], "activation": "required"},
        {"root": ["00" * 32], "software_root": "unchecked", "activation": "unchecked"},
        {"root": ["00" * 31], "software_root": "unchecked", "activation": "required"},
        {"root": ["00" * 32], "software_root": "unchecked", "activation": "optional"},
        {"root": ["00" * 32], "software_root": "unchecked"},
    ],
)
def test_policies_that_settle_nothing(ek: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        policy({**asked(), "ek": ek})


def test_the_purpose_may_stand_beside_others() -> None:
    assert judge(Endorsed(purposes=(TLS_SERVER, EK))).endorsement is not None
