"""Envelopes, bundles, statements and payloads, written and read; the field's own libraries read ours and we theirs."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Mapping

import pytest
import securesystemslib.dsse
from google.protobuf import json_format
from hypothesis import given, settings, strategies as st
from in_toto_attestation.v1.statement import Statement as TheirStatement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.signer import CryptoSigner, SSlibKey
from sigstore_models.bundle.v1 import Bundle as TheirBundle

from images.signature import base64_text, bundle, dsse, simple_signing, statement
from images.signature.bundle import MessageSignature
from images.signature.dsse import Envelope, Signature
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.keys import PrivateKey, PublicKey
from images.signature.simple_signing import Claim
from images.signature.statement import PAYLOAD_TYPE, Subject
from tests.fakes.layouts import new_key

KINDS = ("p256", "ed25519")
KEY, OTHER = new_key("release.pub"), new_key("other.pub", "ed25519")
DIGEST = "ab" * 32


def their_key(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.key, keyid=key.identifier)


def test_what_is_signed_is_that_of_the_specification() -> None:
    """DSSE 1.0.2, protocol.md, "Test Vectors"."""
    found = dsse.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.pre_authentication_encoding("", b"") == b"DSSEv1 0  0 "
    assert dsse.pre_authentication_encoding("ä", b"\x00") == b"DSSEv1 2 \xc3\xa4 1 \x00"


@pytest.mark.parametrize("kind", KINDS)
def test_securesystemslib_verifies_our_envelopes(kind: str) -> None:
    key = new_key(kind=kind)
    envelope = dsse.sign(PAYLOAD_TYPE, b"payload", (key,))
    theirs = securesystemslib.dsse.Envelope.from_dict(json.loads(envelope.encoded()))
    assert theirs.pae() == dsse.pre_authentication_encoding(PAYLOAD_TYPE, b"payload")
    assert list(theirs.verify([their_key(key.public)], 1)) == [key.public.identifier]
    with pytest.raises(securesystemslib.exceptions.VerificationError):
        theirs.verify([their_key(KEY.public)], 1)


@pytest.mark.parametrize(
    "signer", [CryptoSigner.generate_ed25519, CryptoSigner.generate_ecdsa], ids=KINDS[::-1]
)
def test_we_verify_envelopes_of_securesystemslib(signer: Callable[[], CryptoSigner]) -> None:
    theirs = signer()
    envelope = securesystemslib.dsse.Envelope(b"payload", PAYLOAD_TYPE, {})
    envelope.sign(theirs)
    ours = dsse.parse(json.dumps(envelope.to_dict()).encode(), "envelope")
    public = PublicKey(theirs._private_key.public_key(), "theirs")  # type: ignore[arg-type]
    assert dsse.verify(ours, PAYLOAD_TYPE, (KEY.public, public), "envelope") == (public,)


def test_each_signer_counts_once_and_hints_decide_nothing() -> None:
    envelope = dsse.sign(PAYLOAD_TYPE, b"payload", (KEY, KEY, OTHER))
    wrong = tuple(Signature(one.signature, "no such key") for one in envelope.signatures)
    for signatures in (envelope.signatures, wrong, wrong[::-1]):
        found = dsse.verify(
            Envelope(PAYLOAD_TYPE, b"payload", signatures), PAYLOAD_TYPE, (OTHER.public, KEY.public), ""
        )
        assert {one.name for one in found} == {"release.pub", "other.pub"}
    claimed = (Signature(OTHER.sign(b"payload"), KEY.public.identifier),)
    with pytest.raises(
        SignatureError, match="found 1 by other keys, or altered, want one by an accepted key"
    ):
        dsse.verify(Envelope(PAYLOAD_TYPE, b"payload", claimed), PAYLOAD_TYPE, (KEY.public,), "envelope")


SIGNED = dsse.sign(PAYLOAD_TYPE, b"payload", (KEY,))


@pytest.mark.parametrize(
    ("envelope", "payload_type", "keys", "error", "message"),
    [
        (SIGNED, PAYLOAD_TYPE, (), SignatureError, "1 by other keys"),
        (SIGNED, PAYLOAD_TYPE, (OTHER.public,), SignatureError, "1 by other keys"),
        (SIGNED, "text/plain", (KEY.public,), SignatureFormatError, "payloadType: found 'application/vnd.in-toto"),
        (Envelope("text/plain", b"payload", SIGNED.signatures), "text/plain", (KEY.public,), SignatureError, "altered"),
        (Envelope(PAYLOAD_TYPE, b"payloae", SIGNED.signatures), PAYLOAD_TYPE, (KEY.public,), SignatureError, "altered"),
        (Envelope(PAYLOAD_TYPE, b"payload", ()), PAYLOAD_TYPE, (KEY.public,), SignatureError, "found none"),
    ],
    ids=range(6),
)  # fmt: skip
def test_envelopes_that_are_refused(
    envelope: Envelope, payload_type: str, keys: tuple[PublicKey, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dsse.verify(envelope, payload_type, keys, "envelope")


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload": 7},
        {"payload": "a"},
        {"payload": "YQ"},
        {"payload": "YR=="},
        {"payload": "YQ==\n"},
        {"payloadType": None},
        {"signatures": {}},
        {"signatures": [7]},
        {"signatures": [{"keyid": "a"}]},
        {"signatures": [{"sig": "%%"}]},
        {"signatures": [{"sig": "YQ==", "keyid": 7}]},
        {"signatures": [{"sig": "YQ=="}] * 65},
    ],
)
def test_envelopes_that_are_none(change: Mapping[str, object]) -> None:
    with pytest.raises(SignatureFormatError):
        dsse.parse(json.dumps({**json.loads(SIGNED.encoded()), **change}).encode(), "envelope")


def test_either_alphabet_of_base64() -> None:
    value = json.loads(Envelope(PAYLOAD_TYPE, b"\xfb\xff\xfe", ()).encoded())
    value["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    assert dsse.parse(json.dumps(value).encode(), "envelope").payload == b"\xfb\xff\xfe"


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = base64_text.encode(data)
    assert base64_text.decode(text, "it") == data
    for place in range(len(text)):
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with contextlib.suppress(SignatureFormatError):
            assert base64_text.decode(other, "it") != data


@pytest.mark.parametrize("kind", KINDS)
def test_bundles_around_envelopes(kind: str) -> None:
    key = new_key(kind=kind)
    data = bundle.around(dsse.sign(PAYLOAD_TYPE, b"payload", (key,)), key.public)
    theirs = TheirBundle.from_json(data)
    assert theirs.media_type == bundle.MEDIA_TYPE
    assert theirs.verification_material.public_key is not None
    assert theirs.verification_material.public_key.hint == key.public.hint
    assert theirs.dsse_envelope is not None
    envelope = securesystemslib.dsse.Envelope.from_dict(json.loads(data)["dsseEnvelope"])
    assert envelope.verify([their_key(key.public)], 1)
    ours = bundle.parse(data, "bundle")
    assert isinstance(ours.content, Envelope)
    assert dsse.verify(ours.content, PAYLOAD_TYPE, (key.public,), "bundle") == (key.public,)


@pytest.mark.parametrize("kind", KINDS)
def test_bundles_over_messages(kind: str) -> None:
    key = new_key(kind=kind)
    data = bundle.over(b"message", key)
    theirs = TheirBundle.from_json(data).message_signature
    content = bundle.parse(data, "bundle").content
    assert isinstance(content, MessageSignature)
    assert theirs is not None
    assert (theirs.signature, theirs.message_digest.digest) == (content.signature, content.digest)
    assert bundle.verify_message(content, b"message", (KEY.public, key.public), "bundle") == (key.public,)
    with pytest.raises(SignatureError, match="messageDigest: found "):
        bundle.verify_message(content, b"massage", (key.public,), "bundle")
    with pytest.raises(SignatureError, match="signature: found one by another key, or altered"):
        bundle.verify_message(content, b"message", (KEY.public,), "bundle")
    forged = MessageSignature(content.digest, content.signature[:-1] + bytes((content.signature[-1] ^ 1,)))
    with pytest.raises(SignatureError, match="or altered"):
        bundle.verify_message(forged, b"message", (key.public,), "bundle")


BUNDLE = json.loads(bundle.around(SIGNED, KEY.public))
MESSAGE = json.loads(bundle.over(b"message", KEY))


def changed(value: object, path: str, new: object) -> object:
    """Return a copy with another value at a path such as "a.0.b"; None takes it away."""
    copy = json.loads(json.dumps(value))
    *above, last = path.split(".")
    place = copy
    for name in above:
        place = place[int(name) if isinstance(place, list) else name]
    if new is None:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = new
    return copy


@pytest.mark.parametrize(
    ("value", "path", "new"),
    [
        (BUNDLE, "mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.1"),
        (BUNDLE, "mediaType", "application/vnd.dev.sigstore.bundle.v0.4+json"),
        (BUNDLE, "mediaType", None),
        (BUNDLE, "verificationMaterial", None),
        (BUNDLE, "verificationMaterial.publicKey", None),
        (BUNDLE, "verificationMaterial.publicKey.hint", 7),
        (BUNDLE, "verificationMaterial.certificate", {"rawBytes": "YQ=="}),
        (changed(BUNDLE, "verificationMaterial.publicKey", None), "verificationMaterial.certificate", {"rawBytes": "YQ=="}),
        (BUNDLE, "verificationMaterial.tlogEntries", [{}]),
        (BUNDLE, "dsseEnvelope", None),
        (BUNDLE, "dsseEnvelope.payload", "YQ"),
        (BUNDLE, "dsseEnvelope.payload", "Y%Q=="),
        (BUNDLE, "dsseEnvelope.signatures.0.sig", "YR=="),
        (BUNDLE, "dsseEnvelope.more", 1),
        (BUNDLE, "more", 1),
        (BUNDLE, "messageSignature", MESSAGE["messageSignature"]),
        (MESSAGE, "messageSignature.messageDigest.algorithm", "SHA2_512"),
        (MESSAGE, "messageSignature.messageDigest.algorithm", "MD5"),
        (MESSAGE, "messageSignature.messageDigest", None),
        (MESSAGE, "messageSignature.signature", "a"),
        (MESSAGE, "messageSignature.signature", None),
    ],
    ids=range(21),
)  # fmt: skip
def test_bundles_that_are_none(value: object, path: str, new: object) -> None:
    with pytest.raises(SignatureFormatError):
        bundle.parse(json.dumps(changed(value, path, new)).encode(), "bundle")


def test_a_bundle_without_a_list_of_log_entries() -> None:
    """The JSON of protobuf leaves out what is empty, and so does cosign."""
    value = changed(MESSAGE, "verificationMaterial.tlogEntries", None)
    assert isinstance(bundle.parse(json.dumps(value).encode(), "bundle").content, MessageSignature)


def test_statements_are_those_of_the_field() -> None:
    data = statement.write((Subject("app", DIGEST, {"a": "b"}),), "https://example.com/said", {"x": [1, "y"]})
    message = json_format.Parse(data, StatementMessage())
    TheirStatement.copy_from_pb(message).validate()
    assert message.subject[0].digest == {"sha256": DIGEST}
    said = statement.parse(data, "statement")
    assert said.subjects == (Subject("app", DIGEST, {"a": "b"}),)
    assert said.predicate.members == {"x": [1, "y"]}
    theirs = json_format.MessageToJson(message, preserving_proto_field_name=False).encode()
    assert statement.parse(theirs, "theirs").subjects == said.subjects


STATEMENT = json.loads(statement.write((Subject("", DIGEST, {}),), "https://example.com/said", {}))


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("_type", None),
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("subject", None),
        ("subject", []),
        ("subject", [7]),
        ("subject.0.digest", None),
        ("subject.0.digest", {"sha512": "00"}),
        ("subject.0.digest.sha256", DIGEST.upper()),
        ("subject.0.digest.sha256", DIGEST[:-1]),
        ("subject.0.name", 7),
        ("predicateType", None),
        ("predicate", 7),
    ],
)
def test_statements_that_are_none(path: str, new: object) -> None:
    with pytest.raises(SignatureFormatError):
        statement.parse(json.dumps(changed(STATEMENT, path, new)).encode(), "statement")


@pytest.mark.parametrize(
    "claim",
    [
        Claim(DIGEST),
        Claim(DIGEST, "registry.example/app", 0, "cd" * 32),
        Claim(DIGEST, "ä", simple_signing.MAX_VERSION),
    ],
)
def test_payloads_say_what_was_claimed(claim: Claim) -> None:
    data = simple_signing.payload(claim)
    assert simple_signing.parse(data, "payload") == claim
    assert json.loads(data)["critical"]["type"] == "cosign container image signature"


def test_a_payload_of_cosign() -> None:
    """sigstore/cosign, specs/SIGNATURE_SPEC.md, "Simple Signing": with what others note beside it, and null."""
    value = {
        "critical": {
            "identity": {"docker-reference": "testing/manifest"},
            "image": {"docker-manifest-digest": f"sha256:{DIGEST}"},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "atomic", "timestamp": 1458239713},
    }
    assert simple_signing.parse(json.dumps(value).encode(), "payload") == Claim(DIGEST, "testing/manifest")
    value["optional"] = None  # type: ignore[assignment]
    assert simple_signing.parse(json.dumps(value).encode(), "payload") == Claim(DIGEST, "testing/manifest")


PAYLOAD = json.loads(simple_signing.payload(Claim(DIGEST, "app", 3, "cd" * 32)))


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("critical", None),
        ("critical.type", "atomic container signature"),
        ("critical.image", None),
        ("critical.image.docker-manifest-digest", DIGEST),
        ("critical.image.docker-manifest-digest", f"sha256:{DIGEST}0"),
        ("critical.image.docker-manifest-digest", f"sha512:{DIGEST}"),
        ("critical.identity", None),
        ("critical.identity.docker-reference", 7),
        ("more", {}),
        ("optional", []),
        ("optional", {"tee-shim.version": 3}),
        ("optional", {"tee-shim.version": "03"}),
        ("optional", {"tee-shim.version": "-1"}),
        ("optional", {"tee-shim.version": "3 "}),
        ("optional", {"tee-shim.version": "٣"}),
        ("optional", {"tee-shim.version": str(1 << 53)}),
        ("optional", {"tee-shim.contents": "cd" * 32}),
        ("optional", {"tee-shim.contents": 7}),
    ],
)
def test_payloads_that_are_none(path: str, new: object) -> None:
    with pytest.raises(SignatureFormatError):
        simple_signing.parse(json.dumps(changed(PAYLOAD, path, new)).encode(), "payload")


READERS = (dsse.parse, bundle.parse, statement.parse, simple_signing.parse)
TEXTS = tuple(json.dumps(one) for one in (json.loads(SIGNED.encoded()), BUNDLE, MESSAGE, STATEMENT, PAYLOAD))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TEXTS), st.integers(0, 600), st.binary(max_size=6), st.sampled_from(READERS))
def test_any_bytes_are_read_or_an_error(
    text: str, place: int, noise: bytes, read: Callable[[bytes, str], object]
) -> None:
    data = text.encode()[:place] + noise + text.encode()[place + len(noise) :]
    for one in (data, data[:place], noise):
        try:
            read(one, "it")
        except SignatureFormatError as error:
            assert str(error).startswith("it")


@pytest.mark.parametrize("read", READERS, ids=["envelope", "bundle", "statement", "payload"])
def test_large_input_is_refused_before_it_is_read(read: Callable[[bytes, str], object]) -> None:
    with pytest.raises(SignatureFormatError, match=r"found \d+ bytes, want at most"):
        read(b" " * ((64 << 20) + 1), "it")


def test_keys_know_their_hint() -> None:
    key: PrivateKey = KEY
    assert base64.b64decode(key.public.hint).hex() == key.public.identifier
