"""A hypervisor of a fake AWS: what is right is accepted, and each single thing that is wrong has its error."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import cbor2
import pytest

from attestation.endorsements import Endorsements
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.nitro import evidence
from attestation.nitro.authenticate import Authenticated, authenticate
from tests.fakes import aws
from tests.fakes.aws import ALL_LISTS, CHAIN, MADE, NOW, Nitro, certificate, with_chain


def judge(fake: Nitro, lists: tuple[bytes, ...] = (), **options: Any) -> Authenticated:  # noqa: ANN401
    supplied = Endorsements(revocation_lists=lists)
    return authenticate(evidence.parse(fake.document()), supplied, aws.roots(), **{"now": NOW, **options})


def test_a_good_document_is_authentic() -> None:
    proven = judge(Nitro(), ALL_LISTS, crl_required=True)
    assert [one.common_name for one in proven.chain] == list(aws.NAMES)
    assert (len(proven.revocation_lists), proven.age) == (4, timedelta(minutes=1))
    assert not proven.document.debug
    assert judge(Nitro()).revocation_lists == ()


def replaced(place: int, der: bytes) -> Nitro:
    return with_chain(*(der if number == place else one for number, one in enumerate(CHAIN)))


BROKEN: dict[str, tuple[Nitro, type[AuthenticationError], str]] = {
    "signed by another key": (Nitro(signer="other"), SignatureError, "document signature"),
    "another payload was signed": (Nitro(signed=b"other"), SignatureError, "document signature"),
    "an algorithm for another key": (Nitro(protected={1: -7}), SignatureError, "document signature"),
    "leaf not signed by its issuer": (
        replaced(0, certificate("leaf", "instance", signer="zone")),
        SignatureError,
        "leaf",
    ),
    "issuer not signed by the root": (
        replaced(3, certificate("region", "root", signer="zone")),
        SignatureError,
        "region",
    ),
    "issuer that is no authority": (
        replaced(1, certificate("instance", "zone", authority=False)),
        NotAuthenticError,
        "instance",
    ),
    "issuer that may not sign certificates": (
        replaced(1, certificate("instance", "zone", signs_certificates=False)),
        NotAuthenticError,
        "instance",
    ),
    "issuer that allows none below it": (
        replaced(2, certificate("zone", "region", path_length=0)),
        NotAuthenticError,
        "zone",
    ),
    "root that allows too few below it": (
        replaced(4, certificate("root", "root", path_length=2)),
        NotAuthenticError,
        "root",
    ),
    "issuers in another order": (
        with_chain(CHAIN[0], CHAIN[2], CHAIN[1], CHAIN[3], CHAIN[4]),
        NotAuthenticError,
        "issuer of leaf",
    ),
    "an issuer left out": (
        with_chain(CHAIN[0], CHAIN[2], CHAIN[3], CHAIN[4]),
        NotAuthenticError,
        "issuer of leaf",
    ),
    "root left out": (with_chain(*CHAIN[:4]), NotAuthenticError, "root of the chain"),
    "root of somebody else": (
        replaced(4, certificate("other", "other")),
        NotAuthenticError,
        "root of the chain",
    ),
    "too many certificates": (
        with_chain(CHAIN[0], *(CHAIN[1],) * 8, CHAIN[4]),
        NotAuthenticError,
        "cabundle",
    ),
    "expired leaf": (
        replaced(0, certificate("leaf", "instance", start=MADE - timedelta(hours=4))),
        ValidityError,
        "leaf",
    ),
    "issuer of the future": (
        replaced(2, certificate("zone", "region", start=MADE + timedelta(days=1))),
        ValidityError,
        "zone",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    fake, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(fake)
    assert type(caught.value) is error
    assert caught.value.where == where


@pytest.mark.parametrize("issuer", aws.NAMES[1:])
def test_a_revoked_certificate(issuer: str) -> None:
    with pytest.raises(RevokedError):
        judge(Nitro(), (aws.revocation_list(issuer, 5),))


@pytest.mark.parametrize("missing", range(4))
def test_each_list_is_required(missing: int) -> None:
    some = tuple(one for number, one in enumerate(ALL_LISTS) if number != missing)
    with pytest.raises(MissingEndorsementError):
        judge(Nitro(), some, crl_required=True)


def test_an_old_list_is_refused() -> None:
    with pytest.raises(ValidityError):
        judge(Nitro(), (aws.revocation_list("zone", end=NOW - timedelta(seconds=1)),))


def test_a_document_can_be_judged_for_three_hours() -> None:
    late = NOW + timedelta(hours=3)
    with pytest.raises(ValidityError):
        judge(Nitro(), now=late)
    assert judge(Nitro(), now=late, skew=timedelta(minutes=2)).document


MALFORMED: dict[str, dict[str, Any]] = {
    "another digest": {"digest": "SHA256"},
    "no name": {"module_id": ""},
    "a name of bytes": {"module_id": b"x"},
    "time 0": {"timestamp": 0},
    "a time in words": {"timestamp": "now"},
    "a time that no calendar has": {"timestamp": 1 << 62},
    "no registers": {"pcrs": {}},
    "registers in a list": {"pcrs": [bytes(48)]},
    "register 32": {"pcrs": {32: bytes(48)}},
    "a register by name": {"pcrs": {"0": bytes(48)}},
    "a register of 47 bytes": {"pcrs": {0: bytes(47)}},
    "a register in words": {"pcrs": {0: "00" * 48}},
    "no certificate": {"certificate": b""},
    "a certificate of 1025 bytes": {"certificate": bytes(1025)},
    "no bundle": {"cabundle": []},
    "a bundle of text": {"cabundle": ["x"]},
    "too much user data": {"user_data": bytes(1025)},
    "a nonce in words": {"nonce": "abc"},
    "something else": {"color": "red"},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_document_that_says_something_else(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(Nitro(members=MALFORMED[name]).document())


MESSAGES = {
    "unprotected header": Nitro(unprotected={4: 1}),
    "no algorithm": Nitro(protected={}),
    "an algorithm that is none": Nitro(protected={1: -999}),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_another_kind(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(MESSAGES[name].document())


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x84\x40\xa0\x40", b"\x84\x60\xa0\x40\x40", b"\x9b" + b"\xff" * 8, b"\x81" * 60_000,
     b"\x5b" + b"\xff" * 8, bytes((1 << 16) + 1)],
    ids=["nothing", "a number", "three", "text", "an endless array", "a deep one", "endless bytes", "too large"],
)  # fmt: skip
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(data)


def test_a_document_of_the_future_is_refused() -> None:
    late = int((NOW + timedelta(minutes=1)).timestamp() * 1000)
    with pytest.raises(ValidityError):
        judge(Nitro(members={"timestamp": late}))
    assert judge(Nitro(members={"timestamp": late}), skew=timedelta(minutes=2)).document


def laughs(count: int) -> bytes:
    """Lists of lists that are all the same one, by shared references: each doubles what there is."""
    items = [b"\xd8\x1c\x82\x01\x01"]
    for number in range(count):
        reference = b"\xd8\x1d" + cbor2.dumps(number)
        items.append(b"\xd8\x1c\x82" + reference + reference)
    return bytes([0x98, len(items)]) + b"".join(items)


EMPTY, PROTECTED, SIGNATURE = cbor2.dumps(b"\xa0"), cbor2.dumps(cbor2.dumps({1: -35})), cbor2.dumps(bytes(96))
COSTLY = {
    "shared references": b"\x84" + PROTECTED + laughs(40) + EMPTY + SIGNATURE,
    "a large number": b"\x84" + PROTECTED + cbor2.dumps(1 << 40000) + EMPTY + SIGNATURE,
    "a large number of an algorithm": b"\x84" + cbor2.dumps(cbor2.dumps({1: 1 << 40000})) + b"\xa0" + EMPTY + SIGNATURE,
    "a regular expression": b"\x84" + PROTECTED + cbor2.dumps(cbor2.CBORTag(35, "(?i)" + "[\1-\uffff]x" * 200)) + EMPTY + SIGNATURE,
    "a large number inside": Nitro(members={"timestamp": 1 << 40000}).document(),
    "shared references inside": b"\x84" + PROTECTED + b"\xa0" + cbor2.dumps(laughs(40)) + SIGNATURE,
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_tags_are_refused_before_anything_is_made_of_them(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(EvidenceFormatError) as caught:
        evidence.parse(COSTLY[name])
    assert caught.value.field == "tag"
    assert time.perf_counter() - start < 1
