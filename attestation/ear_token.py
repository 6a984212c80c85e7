"""
Who vouches for the claims: a JSON Web Signature over them.

The signature is joserfc's, which is needed for nothing else and is imported when a token is signed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from attestation.errors import AttestationError
from shim.canonical import JsonValue, canonical_bytes
from shim.errors import FoundWantError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey

SOURCE = 'RFC 7518, section 3.1, and RFC 8037, section 3.1: "alg" of JWS'
_TYPE = "eat+jwt"  # RFC 9782, section 6.2
_WANTED = "a private key on P-256, on P-384 or of Ed25519, PEM, without a password"
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}


class SigningKeyError(FoundWantError, AttestationError):
    """A key that cannot sign tokens, or a library that is missing for it."""

    exit_code = 2


@dataclass(frozen=True)
class SigningKey:
    """A private key, and the one algorithm that it is used with."""

    algorithm: str
    pem: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm})"  # the key itself in no log

    @cached_property
    def imported(self) -> ECKey | OKPKey:
        """
        The key as joserfc has it, with the thumbprint that names it; read once.

        Raises:
            SigningKeyError: joserfc is not installed.
        """
        try:
            from joserfc.jwk import ECKey, OKPKey  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise SigningKeyError("joserfc", "not installed", "it: pip install 'tee-shim[ear]'") from error
        return (OKPKey if self.algorithm == "EdDSA" else ECKey).import_key(self.pem)

    @cached_property
    def thumbprint(self) -> str:
        """The name of the key; RFC 7638."""
        return self.imported.thumbprint()


def load_key(pem: bytes, where: str) -> SigningKey:
    """
    Return the key in a PEM file.

    Raises:
        SigningKeyError: it is none, has a password, or is of a kind that no token is signed with.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        found = "one with a password" if isinstance(error, TypeError) else "no private key"
        raise SigningKeyError(where, found, _WANTED, SOURCE) from error
    algorithm = _algorithm(key)
    if algorithm is None:
        raise SigningKeyError(where, "another kind of key", _WANTED, SOURCE)
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(algorithm, plain)


def sign(claims: Mapping[str, JsonValue], key: SigningKey) -> str:
    """
    Return a JSON Web Token with these claims: ES256, ES384 or EdDSA, as the key is.

    The header names the key by its thumbprint (RFC 7638).

    Raises:
        SigningKeyError: joserfc is not installed.

    Source:
        RFC 7519, section 7.1, "Creating a JWT".
    """
    header = {"alg": key.algorithm, "typ": _TYPE, "kid": key.thumbprint}
    from joserfc import jws  # noqa: PLC0415  # an extra, which is there

    with warnings.catch_warnings():
        # RFC 9864 renames EdDSA to Ed25519; what reads tokens today knows the old name.
        warnings.simplefilter("ignore")
        return jws.serialize_compact(
            header, canonical_bytes(claims), key.imported, algorithms=[key.algorithm]
        )


def _algorithm(key: PrivateKeyTypes) -> str | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return None
