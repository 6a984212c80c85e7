"""
Signatures by keys in the bundle format of sigstore, version 0.3.

A bundle names its key by a hint, and the key itself comes from the policy.  Entries of transparency logs and
timestamps may be in it; they are not looked at.

Source:
    sigstore protobuf-specs, sigstore_bundle.proto, messages Bundle and VerificationMaterial;
    sigstore_common.proto, messages MessageSignature and PublicKeyIdentifier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from attestation import json_document
from attestation.json_document import JsonObject
from images.layout.errors import reading
from images.signature import base64_text, dsse
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.keys import PrivateKey, PublicKey, signers
from shim.canonical import JsonValue, canonical_bytes

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_OTHER_SPELLING = "application/vnd.dev.sigstore.bundle+json;version=0.3"
_SOURCE = "sigstore protobuf-specs, sigstore_bundle.proto, message Bundle"


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """A signature over bytes that are elsewhere, and their SHA-256."""

    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """
    What a bundle holds.

    Attributes:
        hint: Which key it says it is of; nobody signed that.
        content: An envelope, or a signature over something else.
    """

    hint: str
    content: dsse.Envelope | MessageSignature


def around(envelope: dsse.Envelope, key: PublicKey) -> bytes:
    """Return the bundle around an envelope that `key` signed."""
    return canonical_bytes({**_head(key), "dsseEnvelope": envelope.value()})


def over(message: bytes, key: PrivateKey) -> bytes:
    """Return a bundle with a signature over `message`, as cosign sign-blob makes it."""
    signed: dict[str, JsonValue] = {
        "messageDigest": {
            "algorithm": "SHA2_256",
            "digest": base64_text.encode(hashlib.sha256(message).digest()),
        },
        "signature": base64_text.encode(key.sign(message)),
    }
    return canonical_bytes({**_head(key.public), "messageSignature": signed})


def verify_message(
    signed: MessageSignature, message: bytes, keys: Sequence[PublicKey], where: str
) -> tuple[PublicKey, ...]:
    """
    Return which of `keys` made a signature over `message`; at least one did.

    Raises:
        SignatureError: none of them, or the digest is that of something else.
    """
    found = hashlib.sha256(message).digest()
    if found != signed.digest:
        want = f"{found.hex()}, that of what is signed"
        raise SignatureError(f"{where}.messageDigest", signed.digest.hex(), want, _SOURCE)
    made = signers(signed.signature, message, keys)
    if not made:
        raise SignatureError(f"{where}.signature", "one by another key, or altered", "one by an accepted key")
    return made


def parse(data: bytes, where: str) -> Bundle:
    """
    Return what a bundle of a key signature holds.

    Raises:
        SignatureFormatError: no such bundle, another version, a certificate instead of a key, a digest other
            than SHA-256; the library sigstore-models is not installed.

    Not checked:
        Transparency log entries and timestamps.
    """
    if len(data) > dsse.MAX_ENVELOPE:
        raise SignatureFormatError(where, f"{len(data)} bytes", f"at most {dsse.MAX_ENVELOPE} bytes")
    with reading(SignatureFormatError):
        document = json_document.read(data, where)
    with reading(SignatureFormatError):
        _check_model(document, where)
        if document.text("mediaType") not in (MEDIA_TYPE, _OTHER_SPELLING):
            raise document.wrong("mediaType", document.members["mediaType"], MEDIA_TYPE)
        material = document.part("verificationMaterial")
        if "publicKey" not in material:
            raise SignatureFormatError(
                material.where, "a certificate", "publicKey: a signature by a key", _SOURCE
            )
        key = material.part("publicKey")
        hint = key.text("hint") if "hint" in key else ""
        if "dsseEnvelope" in document:
            inside = json.dumps(document.part("dsseEnvelope").members).encode()
            return Bundle(hint, dsse.parse(inside, f"{where}.dsseEnvelope"))
        return Bundle(hint, _message(document.part("messageSignature")))


def _message(part: JsonObject) -> MessageSignature:
    digest = part.part("messageDigest")
    if digest.text("algorithm") != "SHA2_256":
        raise digest.wrong("algorithm", digest.members["algorithm"], "SHA2_256")
    return MessageSignature(
        base64_text.decode(digest.text("digest"), f"{digest.where}.digest"),
        base64_text.decode(part.text("signature"), f"{part.where}.signature"),
    )


def _check_model(document: JsonObject, where: str) -> None:
    """
    Check that the field's own model takes the bundle, transparency log entries and all.

    The model wants a list of those; the JSON of protobuf, and cosign, leave one out that is empty.
    """
    try:
        from sigstore_models.bundle.v1 import Bundle as Model  # noqa: PLC0415  # an extra
    except ImportError as error:
        want = "the sigstore-models library: pip install 'tee-shim[sign]'"
        raise SignatureFormatError(where, "a bundle of sigstore", want) from error
    try:
        material = {"tlogEntries": [], **document.part("verificationMaterial").members}
        Model.from_json(json.dumps({**document.members, "verificationMaterial": material}))
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise SignatureFormatError(where, f"no bundle ({said})", "one of version 0.3", _SOURCE) from error


def _head(key: PublicKey) -> dict[str, JsonValue]:
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.hint}, "tlogEntries": []},
    }
