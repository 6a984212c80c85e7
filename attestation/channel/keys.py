"""The keys of a relying party, as they lie in files."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from attestation.channel.errors import MessageError


def public_key_of(pem: bytes, where: str) -> bytes:
    """
    Return the 32 bytes of an Ed25519 public key in PEM.

    Raises:
        MessageError: it is none.

    Source:
        RFC 8410, section 4, "Subject Public Key Fields".
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MessageError(where, "no public key", "one of Ed25519 in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise MessageError(where, type(key).__name__, "an Ed25519 public key")
    return key.public_bytes_raw()
