"""Tokens of realms, a real one and fakes: what is right is accepted, and each thing that is wrong has its error."""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation import endorsements
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.cca import evidence
from attestation.cca.authenticate import Authenticated, authenticate
from attestation.endorsements import Endorsements
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    PolicyError,
    SignatureError,
)
from attestation.path import Roots
from attestation.policy import load
from attestation.verdict import Verdict
from tests import vectors
from tests.fakes import aws
from tests.fakes.policies import changed, policy
from tests.vectors import Case

EXAMPLE = Path(__file__).resolve().parents[3] / "attestation" / "examples" / "policy-cca.toml"
NOW = datetime(2025, 6, 1, tzinfo=UTC)
NONE = Roots("nobody", frozenset())


def point(name: str) -> bytes:
    public = aws.key(name).public_key()
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def jwk(name: str) -> bytes:
    raw = point(name)
    x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (raw[1:49], raw[49:]))
    return json.dumps({"kty": "EC", "crv": "P-384", "x": x, "y": y}).encode()


def spki(name: str) -> bytes:
    return (
        aws.key(name)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def sign1(claims: Mapping[int, Any], signer: str) -> bytes:
    protected, payload = cbor2.dumps({1: -35}), cbor2.dumps(dict(claims))
    data = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(aws.key(signer).sign(data, ec.ECDSA(hashes.SHA384())))
    return cbor2.dumps([protected, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


REALM: Mapping[int, Any] = {
    10: bytes(64),
    44235: b"\1" * 64,
    44236: "sha-256",
    44237: point("realm"),
    44238: b"\2" * 32,
    44239: [bytes([number]) * 32 for number in range(3, 7)],
    44240: "sha-256",
}
PLATFORM: Mapping[int, Any] = {
    10: hashlib.sha256(point("realm")).digest(),
    2396: b"\7" * 32,
    256: b"\1" + b"\x08" * 32,
    2395: 0x3003,
    2399: [{1: "BL1", 2: b"\x09" * 32, 5: b"\x0a" * 32}, {1: "BL2", 2: b"\x0b" * 32, 5: b"\x0a" * 32}],
}


@dataclass(frozen=True, kw_only=True)
class Token:
    """One realm on one platform."""

    realm: Mapping[int, Any] = field(default_factory=dict)
    platform: Mapping[int, Any] = field(default_factory=dict)
    realm_signer: str = "realm"
    platform_signer: str = "platform"
    tag: bytes = b"\xd9\x01\x8f"

    def evidence(self) -> bytes:
        return self.tag + cbor2.dumps(
            {
                44234: sign1({**PLATFORM, **self.platform}, self.platform_signer),
                44241: sign1({**REALM, **self.realm}, self.realm_signer),
            }
        )


KEYS = endorsements.parse(jwk("other")) | endorsements.parse(jwk("platform"))


def judge(token: Token, more: Endorsements = KEYS, **options: Any) -> Authenticated:  # noqa: ANN401
    return authenticate(evidence.parse(token.evidence()), more, NONE, now=NOW, **options)


@pytest.mark.parametrize("case", vectors.cases("cca"))
def test_the_real_token(case: Case) -> None:
    supplied, data = endorsements.parse(case.read("cpak")), case.read("token")
    proven = authenticate(evidence.parse(data), supplied, NONE, now=NOW)
    assert (len(proven.evidence.platform.components), proven.evidence.platform.lifecycle) == (13, 0x3003)
    for place in range(len(data)):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(data[:place])
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(AuthenticationError):
            authenticate(evidence.parse(bytes(damaged)), supplied, NONE, now=NOW)


def test_a_good_token_is_authentic() -> None:
    for token in (Token(), Token(tag=b"")):
        assert judge(token).key_sha256 == hashlib.sha256(spki("platform")).digest()


BROKEN: dict[str, tuple[Token, type[AuthenticationError], str]] = {
    "realm signed by another key": (Token(realm_signer="other"), SignatureError, "realm token's signature"),
    "platform signed by another key": (
        Token(platform_signer="foreign"),
        SignatureError,
        "platform token's signature",
    ),
    "platform that vouches for another realm": (
        Token(platform={10: bytes(32)}),
        NotAuthenticError,
        "platform token.10",
    ),
    "realm whose key is of another size": (
        Token(realm={44237: b"\4"}),
        NotAuthenticError,
        "realm token.44237",
    ),
    "realm whose key is no point": (
        Token(realm={44237: b"\4" + b"\1" * 96}),
        NotAuthenticError,
        "realm token.44237",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    token, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(token)
    assert type(caught.value) is error
    assert caught.value.where == where


def cose_key(name: str = "realm", changes: Mapping[int, object] | None = None) -> bytes:
    numbers = aws.key(name).public_key().public_numbers()
    members = {1: 2, -1: 2, -2: numbers.x.to_bytes(48, "big"), -3: numbers.y.to_bytes(48, "big")}
    return cbor2.dumps({**members, **(changes or {})})


def with_key(key: bytes) -> Token:
    return Token(
        realm={44237: key, 265: "tag:arm.com,2023:realm#1.0.0"}, platform={10: hashlib.sha256(key).digest()}
    )


def test_the_realms_key_may_be_a_cose_key() -> None:
    for key in (cose_key(), cose_key(changes={3: -35})):
        assert judge(with_key(key)).key_sha256 == hashlib.sha256(spki("platform")).digest()
    with pytest.raises(SignatureError):
        judge(with_key(cose_key("other")))
    with pytest.raises(NotAuthenticError) as caught:  # the platform vouches for the claim as it stands
        judge(Token(realm={44237: cose_key()}))
    assert caught.value.where == "platform token.10"


@pytest.mark.parametrize(
    "key",
    [
        cose_key(changes={1: 1}),
        cose_key(changes={1: None}),
        cose_key(changes={-1: 1}),
        cose_key(changes={-1: 9}),
        cose_key(changes={-1: [2]}),
        cose_key(changes={-2: bytes(48)}),
        cose_key(changes={-2: b"\1" * 47}),
        cose_key(changes={-3: True}),
        cose_key()[:-1],
        cose_key() + b"\0",
        cbor2.dumps([1, 2]),
        b"\xd2" + cose_key(),
        b"",
        b"\2" + point("realm")[1:],
    ],
)
def test_a_realms_key_that_is_none(key: bytes) -> None:
    with pytest.raises(NotAuthenticError) as caught:
        judge(with_key(key))
    assert caught.value.where == "realm token.44237"


def typed(*, number: object = 263, tag: bytes = b"\xd9\x03\x8b") -> bytes:
    inner = cbor2.loads(Token(tag=b"").evidence())
    return tag + cbor2.dumps({name: [number, message] for name, message in inner.items()})


def test_tokens_in_the_collection_of_later_drafts() -> None:
    proven = authenticate(evidence.parse(typed()), KEYS, NONE, now=NOW)
    assert proven.key_sha256 == hashlib.sha256(spki("platform")).digest()
    wrong = [typed(number=61), typed(number=None), typed(tag=b""), typed(tag=b"\xd9\x01\x8f"), typed()[:-1]]
    for data in (*wrong, b"\xd9\x03\x8b" + Token(tag=b"").evidence()):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(data)


@pytest.mark.parametrize(
    ("header", "is_read"), [({4: b"key"}, True), ({1: -7}, False), ({4: b"", 2: [1]}, False)]
)
def test_only_the_name_of_a_key_needs_no_protection(header: dict[int, object], is_read: bool) -> None:  # noqa: FBT001
    inner = cbor2.loads(Token(tag=b"").evidence())
    parts = cbor2.loads(inner[44241])
    inner[44241] = cbor2.dumps([parts[0], header, *parts[2:]])
    if is_read:
        assert authenticate(evidence.parse(cbor2.dumps(inner)), KEYS, NONE, now=NOW).evidence.realm
        return
    with pytest.raises(EvidenceFormatError, match="unprotected"):
        evidence.parse(cbor2.dumps(inner))


def test_what_is_missing() -> None:
    with pytest.raises(MissingEndorsementError):
        judge(Token(), Endorsements())
    with pytest.raises(MissingEndorsementError):
        judge(Token(), crl_required=True)


MALFORMED: dict[str, Token] = {
    "a challenge of 63 bytes": Token(realm={10: bytes(63)}),
    "no initial measurement": Token(realm={44238: None}),
    "three measurements": Token(realm={44239: [bytes(32)] * 3}),
    "a measurement of 31 bytes": Token(realm={44239: [bytes(31)] * 4}),
    "another hash": Token(realm={44240: "md5"}),
    "a lifecycle in words": Token(platform={2395: "secured"}),
    "an instance of 32 bytes": Token(platform={256: bytes(32)}),
    "no software": Token(platform={2399: None}),
    "software without a measurement": Token(platform={2399: [{1: "BL1", 5: b""}]}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_token_that_says_something_else(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(MALFORMED[name].evidence())


@pytest.mark.parametrize("data", [b"", b"\xa0", cbor2.dumps({44234: 1, 44241: 2}), bytes((1 << 16) + 1)])
def test_bytes_that_are_no_token(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(data)


@pytest.mark.parametrize(
    "change",
    [{"kty": "RSA"}, {"crv": "P-1"}, {"x": "AA"}, {"x": "***"}, {"y": None}],
    ids=str,
)
def test_a_key_that_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(json.dumps({**json.loads(jwk("platform")), **change}).encode())


def as_pem(encoded: bytes, label: str = "PUBLIC KEY") -> bytes:
    lines = base64.encodebytes(encoded).decode()
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


@pytest.mark.parametrize("form", [bytes, as_pem, bytes.hex, base64.b64encode])
def test_a_key_as_it_stands_in_certificates(form: Callable[[bytes], str | bytes]) -> None:
    text = form(spki("platform"))
    supplied = endorsements.parse(text if isinstance(text, bytes) else text.encode())
    assert supplied == endorsements.parse(jwk("platform"))
    assert judge(Token(), supplied).key_sha256 == hashlib.sha256(spki("platform")).digest()


RSA = rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key()
ENCODED = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "data",
    [
        RSA.public_bytes(*ENCODED),
        as_pem(RSA.public_bytes(*ENCODED)),
        ec.derive_private_key(5, ec.SECP256K1()).public_key().public_bytes(*ENCODED),
        spki("platform")[:-2] + bytes(2),
        as_pem(spki("platform"), "EC PRIVATE KEY"),
        as_pem(spki("platform")[:40]),
        bytes.fromhex("300430020600"),
    ],
)
def test_a_key_that_is_none_in_der(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(data)


STRICT: dict[str, object] = {
    **tomllib.loads(EXAMPLE.read_text()),
    "binding": "exact",
    "realm": {
        "rim": [{"digest": "02" * 32, "label": "the fake"}],
        **{f"rem{number}": [f"{number + 3:02x}" * 32] for number in range(4)},
        "rpv": ["01" * 64],
    },
    "platform": {
        "cpak": [hashlib.sha256(spki("platform")).hexdigest()],
        "lifecycle": "secured",
        "implementation_id": ["07" * 32],
        "instance_id": ["01" + "08" * 32],
        "software": ["09" * 32, "0b" * 32],
    },
}


def refused(token: Token, values: dict[str, object] = STRICT) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        appraise(token.evidence(), KEYS, policy(values), binding=Exact(bytes(64)), now=NOW)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policy_describes_is_affirmed() -> None:
    result = appraise(Token().evidence(), KEYS, policy(STRICT), binding=Exact(bytes(64)), now=NOW)
    assert result.claims is not None
    assert (result.claims["reference"], result.unchecked) == ("the fake", ("crl",))


ONE_WRONG: dict[str, Token] = {
    "realm.rim": Token(realm={44238: bytes(32)}),
    **{
        f"realm.rem{number}": Token(
            realm={44239: [bytes(32) if one == number else bytes([one + 3]) * 32 for one in range(4)]}
        )
        for number in range(4)
    },
    "realm.rpv": Token(realm={44235: bytes(64)}),
    "platform.lifecycle": Token(platform={2395: 0x2000}),
    "platform.implementation_id": Token(platform={2396: bytes(32)}),
    "platform.instance_id": Token(platform={256: bytes(33)}),
    "platform.software": Token(platform={2399: []}),
    "platform.software.BL3": Token(platform={2399: [{1: "BL3", 2: bytes(32), 5: b""}]}),
}


@pytest.mark.parametrize("name", ONE_WRONG)
def test_one_thing_that_is_not_accepted(name: str) -> None:
    assert refused(ONE_WRONG[name]) == {name: Verdict.POLICY_MISMATCH}


def test_a_key_that_the_policy_does_not_name_vouches_for_nothing() -> None:
    assert refused(replace(Token(), platform_signer="other")) == {"platform.cpak": Verdict.NOT_AUTHENTIC}


def test_another_question() -> None:
    assert refused(Token(realm={10: b"\1" * 64})) == {"report.report_data": Verdict.WRONG_BINDING}


@pytest.mark.parametrize("key", ["realm.rim", "platform.cpak"])
def test_what_cannot_be_left_unchecked(key: str) -> None:
    with pytest.raises(PolicyError):
        policy(changed(key, "unchecked", STRICT))


def test_the_example_can_be_loaded() -> None:
    assert load(EXAMPLE.read_text(), EXAMPLE.name).tee == "cca"
