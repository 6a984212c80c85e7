"""Keys in files: Ed25519 and ECDSA on P-256, in PEM."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from images.signature.errors import SigningKeyError

MAX_KEY = 1 << 16
_KINDS = "an Ed25519 or a P-256 key"
_SOURCE = "RFC 7468, sections 10, 11 and 13"
_PRIVATE = re.compile(rb"-----BEGIN (ENCRYPTED )?PRIVATE KEY-----")
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----")

_Public: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_Private: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    A key that signatures are held against.

    Attributes:
        key: The key; `read_public` and `read_private` make sure of its kind.
        name: Where it came from, for messages.
    """

    key: _Public
    name: str

    @property
    def spki(self) -> bytes:
        """The key as SubjectPublicKeyInfo, DER."""
        return self.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def identifier(self) -> str:
        """SHA-256 of `spki`, 64 hexadecimal digits: what a key id is here. A hint and no more."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def hint(self) -> str:
        """The same in base64, as cosign writes it into bundles."""
        return base64.b64encode(hashlib.sha256(self.spki).digest()).decode()

    def made(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature over `data` was made by this key; ECDSA as DER, over SHA-256."""
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    key: _Private
    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """Return a signature over `data`; ECDSA as DER, over SHA-256."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


def signers(signature: bytes, data: bytes, keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    """Return which of `keys` made a signature over `data`."""
    return tuple(key for key in keys if key.made(signature, data))


def read_public(pem: bytes, where: str) -> PublicKey:
    """
    Return the public key in a PEM file.

    Raises:
        SigningKeyError: no such key, or one of another kind; a private key.
    """
    _check_size(pem, where)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(where, _described(pem), "a public key in PEM", _SOURCE) from error
    return PublicKey(_of_a_kind(key, where), where)


def read_private(pem: bytes, where: str, passphrase: bytes | None = None) -> PrivateKey:
    """
    Return the private key in a PEM file, PKCS #8.

    Args:
        pem: The file.
        where: Its name.
        passphrase: Of a key that is encrypted, else None.

    Raises:
        SigningKeyError: no such key, one of another kind, or not with this passphrase.
    """
    _check_size(pem, where)
    label = _PRIVATE.search(pem)
    if label is None:
        want = "PKCS #8 in PEM, as openssl genpkey writes it"
        raise SigningKeyError(where, _described(pem), want, _SOURCE)
    if (label[1] is not None) != (passphrase is not None):
        found = "an encrypted key" if label[1] else "a key that is not encrypted"
        want = "--passphrase-fd or --passphrase-env beside it" if label[1] else "no passphrase beside it"
        raise SigningKeyError(where, found, want)
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        found = "another passphrase, or a damaged key" if label[1] else "a damaged key"
        raise SigningKeyError(where, found, "a private key that can be read") from error
    if not isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey)):
        raise SigningKeyError(where, "a key for something else", _KINDS)
    return PrivateKey(key, PublicKey(_of_a_kind(key.public_key(), where), where))


def _of_a_kind(key: object, where: str) -> _Public:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return key
        raise SigningKeyError(where, f"a key on {key.curve.name}", _KINDS)
    raise SigningKeyError(where, "a key for something else", _KINDS)


def _check_size(pem: bytes, where: str) -> None:
    if len(pem) > MAX_KEY:
        raise SigningKeyError(where, f"{len(pem)} bytes", f"at most {MAX_KEY} bytes")


def _described(pem: bytes) -> str:
    label = _LABEL.search(pem)
    return "no PEM" if label is None else f"{label[1].decode('ascii')} in PEM"
