"""With which key does a relying party sign releases?  Its public half is in the plans of its guests."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.errors import AttestationError
from shim.errors import FoundWantError

_WANT = "a private key of Ed25519, PEM, without a password: openssl genpkey -algorithm ed25519"


class ReleaseKeyError(FoundWantError, AttestationError):
    """A key that releases cannot be signed with."""

    exit_code = 2


def load(pem: bytes, where: str) -> Ed25519PrivateKey:
    """
    Return the key in a PEM file (PKCS #8).

    Raises:
        ReleaseKeyError: none, one with a password, or of another kind.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        found = "one with a password" if isinstance(error, TypeError) else "no private key"
        raise ReleaseKeyError(where, found, _WANT) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseKeyError(where, "another kind of key", _WANT)
    return key


def from_seed(seed: bytes) -> Ed25519PrivateKey:
    """Return the key of a seed of 32 random bytes (RFC 8032, section 5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_half(key: Ed25519PrivateKey) -> bytes:
    """Return what guests check signatures by, 32 bytes."""
    return key.public_key().public_bytes_raw()
