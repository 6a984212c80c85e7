"""With which key are tokens checked, and is one about what was just received?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from attestation import json_document
from attestation.ear_token import SOURCE, SigningKey, SigningKeyError
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.relying_party import base64url
from shim.canonical import JsonValue

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey

CLAIM = "shim_release"  # a private claim, RFC 7519, section 4.3: what was released beside the token


def fresh_key() -> SigningKey:
    """Return a new key that signs tokens, on P-256."""
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey("ES256", pem)


def key_set(key: SigningKey) -> Mapping[str, JsonValue]:
    """
    Return the public half of the key that signs tokens, as a JSON web key set; RFC 7517, section 5.

    Raises:
        SigningKeyError: joserfc is not installed.
    """
    public = cast("dict[str, JsonValue]", key.imported.as_dict(private=False))
    return {"keys": [{**public, "kid": key.thumbprint, "alg": key.algorithm, "use": "sig"}]}


def check(token: str, public_key: bytes, *, nonce: bytes, resource: str, sealed_sha256: str) -> None:
    """
    Check that the relying party answered this question with this release.

    Args:
        token: As it came.
        public_key: The relying party's, PEM, from somewhere else than the network.
        nonce: The one that was answered.
        resource: The name of what was asked for.
        sealed_sha256: Digest of the sealed resource, hexadecimal.

    Raises:
        NotAuthenticError: it is not signed by that key, or about something else.
        SigningKeyError: no public key that tokens are signed with, or joserfc is not installed.

    Not checked:
        Until when it counts: the nonce is fresh, and only now asked for.
    """
    claims = _verified(token, public_key)
    released = claims.get(CLAIM)
    want = {"resource": resource, "sha256": sealed_sha256}
    if claims.get("eat_nonce") != base64url.encode(nonce):
        raise NotAuthenticError("token.eat_nonce", "another question", "the one that was asked")
    found = {name: released.get(name) for name in want} if isinstance(released, Mapping) else None
    if found != want:
        raise NotAuthenticError(f"token.{CLAIM}", "another release", "the one that came with it")


def _verified(token: str, public_key: bytes) -> Mapping[str, object]:
    algorithm = _algorithm(public_key)
    key = _imported(public_key, algorithm)
    from joserfc import jws  # noqa: PLC0415  # an extra
    from joserfc.errors import JoseError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `ear_token.sign`
            payload = jws.deserialize_compact(token, key, algorithms=[algorithm]).payload
        return json_document.read(payload, "token").members
    except (JoseError, ValueError, EvidenceFormatError) as error:
        found = "one that is not signed by the relying party's key"
        raise NotAuthenticError("token", found, "one that is", SOURCE) from error


def _algorithm(public_key: bytes) -> str:
    want = "a public key on P-256, on P-384 or of Ed25519, PEM"
    try:
        key = serialization.load_pem_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyError("relying party's key", "no public key", want, SOURCE) from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}:
        return {"secp256r1": "ES256", "secp384r1": "ES384"}[key.curve.name]
    raise SigningKeyError("relying party's key", "another kind of key", want, SOURCE)


def _imported(pem: bytes, algorithm: str) -> ECKey | OKPKey:
    try:
        from joserfc.jwk import ECKey, OKPKey  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise SigningKeyError("joserfc", "not installed", "it: pip install 'tee-shim[ear]'") from error
    return (OKPKey if algorithm == "EdDSA" else ECKey).import_key(pem)
