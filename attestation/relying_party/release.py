"""
How does a resource travel to the one machine that may have it?

Sealed by HPKE to the key that its evidence vouches for.  What it answers, nonce and evidence, and which
resource it is, is bound to it: a relay can neither open it nor let it pass for another.

Source:
    RFC 9180, section 6.1, "Encryption and Decryption", base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
    ChaCha20-Poly1305.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from attestation.errors import NotAuthenticError

KEY_SIZE = 32
_LABEL = b"shim release/v1\0"  # 16 bytes
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_SOURCE = "RFC 9180, section 6.1"


@dataclass(frozen=True, slots=True)
class Context:
    """What a release answers: the nonce, SHA-256 of the evidence, and the name of the resource."""

    nonce: bytes
    evidence_sha256: bytes
    resource: str

    def info(self) -> bytes:
        """Return HPKE's `info`: label 16 ‖ nonce 32 ‖ SHA-256 of the evidence 32 ‖ SHA-256 of the name 32."""
        return _LABEL + self.nonce + self.evidence_sha256 + hashlib.sha256(self.resource.encode()).digest()


def seal(value: bytes, public_key: bytes, context: Context) -> bytes:
    """
    Return encapsulated key (32 bytes) and ciphertext of `value`, sealed to an X25519 key.

    Raises:
        NotAuthenticError: the key is of small order: whatever is sealed to it, everybody can open.
    """
    try:
        return _SUITE.encrypt(value, X25519PublicKey.from_public_bytes(public_key), context.info())
    except ValueError as error:
        raise NotAuthenticError("public_key", "a point of small order", "an X25519 key", _SOURCE) from error


def open_release(sealed: bytes, private_key: bytes, context: Context) -> bytes:
    """
    Return the value.

    Raises:
        NotAuthenticError: it was sealed to another key, for another question or resource, or changed.

    Not checked:
        Who sealed it: HPKE's base mode does not say.  The token names its digest, and is signed.
    """
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private_key), context.info())
    except (InvalidTag, ValueError) as error:
        found = "one for another key or question, or a changed one"
        raise NotAuthenticError("release", found, "the one that was asked for", _SOURCE) from error
