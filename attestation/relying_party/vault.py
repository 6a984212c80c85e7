"""How is a value kept so that the store alone gives nobody anything?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from attestation.relying_party.errors import StoreIntegrityError
from attestation.relying_party.keys import Keyring
from shim.canonical import canonical_bytes

LARGEST = 1 << 16  # bytes of one value: keys and configuration, not images
_NONCE = 12
_PURPOSE = "resource"


@dataclass(frozen=True, slots=True)
class Label:
    """What a value belongs to; it is authenticated with it, so that no row can stand for another."""

    name: str
    version: int
    policy: str

    def to_bytes(self) -> bytes:
        """Return the bytes that are authenticated."""
        return canonical_bytes({"name": self.name, "version": self.version, "policy": self.policy})


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value as it is kept: the name of its key, and AES-256-GCM's nonce, ciphertext and tag."""

    key_id: bytes
    data: bytes


def seal(keys: Keyring, label: Label, value: bytes, random: Callable[[int], bytes]) -> Sealed:
    """Return `value` as it is kept, under the key in use."""
    nonce = random(_NONCE)
    cipher = AESGCM(keys.current.derive(_PURPOSE))
    return Sealed(keys.current.id, nonce + cipher.encrypt(nonce, value, label.to_bytes()))


def open_sealed(keys: Keyring, label: Label, sealed: Sealed) -> bytes:
    """
    Return the value.

    Raises:
        StoreIntegrityError: its key is not known, or it was changed or moved to another name, version or
            policy.
    """
    cipher = AESGCM(keys.named(sealed.key_id).derive(_PURPOSE))
    try:
        return cipher.decrypt(sealed.data[:_NONCE], sealed.data[_NONCE:], label.to_bytes())
    except (InvalidTag, ValueError) as error:
        where = f"resource {label.name}, version {label.version}"
        raise StoreIntegrityError(
            where, "a value that does not belong there", "the one that was put"
        ) from error
