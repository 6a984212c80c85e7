"""
HPKE (RFC 9180), mode base, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305.

From the primitives of `cryptography`: its own module seals one message, and has neither contexts nor the
exporter, from which the keys of what a guest sends come.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from attestation.channel.errors import ReleaseError
from attestation.channel.frames import TAG_SIZE

KEY_SIZE = 32  # Nsecret, Nenc, Npk, Nsk, Nh and Nk are all 32
NONCE_SIZE = 12
_KEM = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_MOST_MESSAGES = (1 << 64) - 1  # RFC 9180 has 2^96 - 1; the guest counts in 64 bits
_SOURCE = "RFC 9180, section 7.1.4"


class Sealing:
    """A key and how often it was used: `Context` of RFC 9180, section 5.2, without its exporter."""

    def __init__(self, key: bytes, base_nonce: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._base_nonce = int.from_bytes(base_nonce)
        self.sequence = 0

    def seal(self, text: bytes, aad: bytes = b"") -> bytes:
        """
        Return `text` sealed as the next message, 16 bytes longer.

        Raises:
            OverflowError: all numbers are used up.
        """
        sealed = self._aead.encrypt(self._next_nonce(), text, aad)
        self.sequence += 1
        return sealed

    def open(self, sealed: bytes, aad: bytes = b"") -> bytes | None:
        """Return what was sealed as the next message, or None if this was not; then nothing is counted."""
        if len(sealed) < TAG_SIZE:
            return None
        try:
            text = self._aead.decrypt(self._next_nonce(), sealed, aad)
        except InvalidTag:
            return None
        self.sequence += 1
        return text

    def _next_nonce(self) -> bytes:
        if self.sequence >= _MOST_MESSAGES:
            raise OverflowError("all numbers of this key are used up")
        return (self._base_nonce ^ self.sequence).to_bytes(NONCE_SIZE)


class Context:
    """What sender and recipient share: `sealing` for messages, and an exporter (section 5.3)."""

    def __init__(self, shared_secret: bytes, info: bytes) -> None:
        psk_id_hash = _extract(_SUITE, b"", b"psk_id_hash", b"")
        context = b"\0" + psk_id_hash + _extract(_SUITE, b"", b"info_hash", info)
        secret = _extract(_SUITE, shared_secret, b"secret", b"")
        self.key = _expand(_SUITE, secret, b"key", context, KEY_SIZE)
        self.base_nonce = _expand(_SUITE, secret, b"base_nonce", context, NONCE_SIZE)
        self.exporter_secret = _expand(_SUITE, secret, b"exp", context, KEY_SIZE)
        self.sealing = Sealing(self.key, self.base_nonce)

    def export(self, context: bytes, size: int) -> bytes:
        """Return `size` bytes, at most 8160, that only the two sides can compute."""
        return _expand(_SUITE, self.exporter_secret, b"sec", context, size)


def send(public_key: bytes, info: bytes, ephemeral: X25519PrivateKey) -> tuple[bytes, Context]:
    """
    Return what the recipient needs, 32 bytes, and the sender's context (SetupBaseS, section 5.1.1).

    Args:
        public_key: The recipient's, 32 bytes.
        info: What both sides have to agree on.
        ephemeral: A fresh key, for this one call.

    Raises:
        ReleaseError: a point of low order: everybody could compute the secret.
    """
    enc = ephemeral.public_key().public_bytes_raw()
    product = _exchange(ephemeral, public_key, "public key")
    return enc, Context(shared_secret(product, enc, public_key), info)


def receive(private_key: X25519PrivateKey, enc: bytes, info: bytes) -> Context:
    """
    Return the recipient's context (SetupBaseR, section 5.1.1).

    Raises:
        ReleaseError: a point of low order.
    """
    product = _exchange(private_key, enc, "release.enc")
    return Context(shared_secret(product, enc, private_key.public_key().public_bytes_raw()), info)


def shared_secret(product: bytes, enc: bytes, public_key: bytes) -> bytes:
    """Return DHKEM's secret from the product of the keys (ExtractAndExpand, section 4.1), 32 bytes."""
    key = _extract(_KEM, b"", b"eae_prk", product)
    return _expand(_KEM, key, b"shared_secret", enc + public_key, KEY_SIZE)


def _exchange(private_key: X25519PrivateKey, public_key: bytes, where: str) -> bytes:
    try:
        return private_key.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise ReleaseError(where, public_key.hex(), "a public key of X25519", _SOURCE) from error


def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    """LabeledExtract, section 4."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + key, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand, section 4, over HKDF-Expand (RFC 5869, section 2.3)."""
    labeled = size.to_bytes(2) + b"HPKE-v1" + suite + label + info
    out, block, count = b"", b"", 0
    while len(out) < size:
        count += 1
        block = hmac.digest(key, block + labeled + count.to_bytes(1), "sha256")
        out += block
    return out[:size]
