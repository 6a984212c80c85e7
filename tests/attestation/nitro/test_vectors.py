"""The real documents reach their expected verdicts, and no damaged copy of one is accepted."""

from __future__ import annotations

import pytest

from attestation import cose
from attestation.appraise import appraise
from attestation.binding import Nonce
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    SignatureError,
    ValidityError,
)
from attestation.nitro import evidence, roots
from attestation.nitro.authenticate import Authenticated, authenticate
from tests import vectors
from tests.attestation.nitro.test_appraise import STRICT
from tests.fakes.policies import policy
from tests.vectors import Case


def judge(data: bytes, case: Case, cache: Cache | None = None) -> Authenticated:
    assert case.time is not None
    return authenticate(evidence.parse(data), Endorsements(), roots.AWS, now=case.time, cache=cache)


@pytest.mark.parametrize("case", vectors.cases("nitro"))
def test_real_documents_reach_their_verdicts(case: Case) -> None:
    if case.expected.startswith("invalid: certificate expired"):
        with pytest.raises(ValidityError):
            judge(case.read("doc"), case)
        return
    assert case.expected.startswith("valid")
    proven = judge(case.read("doc"), case)
    assert proven.document.debug == ("DEBUG" in case.expected)
    assert len(proven.chain) == 5
    assert sorted(proven.document.pcrs) == list(range(16))


ACCEPTED = [case for case in vectors.load("nitro") if case.expected.startswith("valid")][:2]
REAL = ACCEPTED or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))]


@pytest.mark.parametrize("case", REAL, ids=lambda case: case.id if case else "absent")
def test_one_flipped_bit_anywhere_is_noticed(case: Case) -> None:
    data, cache = case.read("doc"), Cache()
    judge(data, case, cache)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(AuthenticationError):
            judge(bytes(damaged), case, cache)


@pytest.mark.parametrize("case", vectors.cases("nitro"))
def test_the_nonce_of_a_real_document_binds_where_the_policy_says_so(case: Case) -> None:
    data, nonce = case.read("doc"), evidence.parse(case.read("doc")).document.nonce
    if case.time is None or nonce is None or len(nonce) != 32:
        assert "veracruz" not in case.id  # the one that has a nonce of this size
        return
    rules = policy({**STRICT, "binding": "nonce", "crl": "unchecked"})
    for given, bound in ((nonce, True), (bytes(32), False)):
        with pytest.raises(AppraisalError) as caught:  # of the registers none is that of the fake
            appraise(data, Endorsements(), rules, binding=Nonce(given), now=case.time)
        fields = {mismatch.field for mismatch in caught.value.mismatches}
        assert "document.pcr0" in fields
        assert ("report.nonce" in fields) is not bound


@pytest.mark.parametrize("case", vectors.cases("nitro"))
def test_every_proper_prefix_is_malformed(case: Case) -> None:
    data = case.read("doc")
    for size in range(len(data)):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(data[:size])
    with pytest.raises(EvidenceFormatError):
        evidence.parse(data + b"\0")


@pytest.mark.parametrize("case", REAL, ids=lambda case: case.id if case else "absent")
def test_the_tag_of_a_message_is_optional(case: Case) -> None:
    data = case.read("doc")
    judge(data if data[0] == 0xD2 else b"\xd2" + data, case)
    with pytest.raises(EvidenceFormatError):
        evidence.parse(b"\xd1" + data)


@pytest.mark.parametrize("case", REAL, ids=lambda case: case.id if case else "absent")
def test_a_signature_of_another_size(case: Case) -> None:
    message = evidence.parse(case.read("doc")).message
    key = judge(case.read("doc"), case).chain[0].public_key
    cose.check(message, key, "it")
    short = cose.Sign1(message.algorithm, message.payload, message.signed_bytes, message.signature[:-1])
    with pytest.raises(SignatureError):
        cose.check(short, key, "it")
