"""
Which keys does a relying party have?

A file of master keys, one on each line in hexadecimal: the first is used, the others still open what they
sealed.  For every purpose a key of its own is derived, so that all instances with the same file agree, and
nothing of it is ever kept in the store.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from attestation.relying_party.errors import KeyFileError, StoreIntegrityError

SIZE = 32
ID_SIZE = 8
_LABEL = b"shim relying party/v1 "
_KEPT = 32  # derived keys; a nonce may name any day


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 secret bytes, and the 8 that name them."""

    id: bytes
    secret: bytes
    _derived: dict[str, bytes] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return f"MasterKey({self.id.hex()})"  # the key itself in no log

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for one purpose: HKDF-SHA256, RFC 5869."""
        known = self._derived.get(purpose)
        if known is None:
            kdf = HKDF(algorithm=hashes.SHA256(), length=SIZE, salt=None, info=_LABEL + purpose.encode())
            known = kdf.derive(self.secret)
            if len(self._derived) < _KEPT:
                self._derived[purpose] = known
        return known

    def mac(self, purpose: str, data: bytes) -> bytes:
        """Return HMAC-SHA256 of `data` under the key for `purpose`, 32 bytes."""
        return hmac.digest(self.derive(purpose), data, "sha256")


@dataclass(frozen=True, slots=True)
class Keyring:
    """All master keys, the one in use first."""

    keys: tuple[MasterKey, ...]

    @property
    def current(self) -> MasterKey:
        """The key that everything new is made with."""
        return self.keys[0]

    def named(self, key_id: bytes) -> MasterKey:
        """
        Return the key that something was made with.

        Raises:
            StoreIntegrityError: it is not among them.
        """
        for key in self.keys:
            if key.id == key_id:
                return key
        known = ", ".join(key.id.hex() for key in self.keys)
        raise StoreIntegrityError("store", f"something made with key {key_id.hex()}", f"one of {known}")


def master_key(secret: bytes) -> MasterKey:
    """
    Return the master key of 32 secret bytes.

    Raises:
        ValueError: another length; the caller's bug.
    """
    if len(secret) != SIZE:
        raise ValueError(f"master key: found {len(secret)} bytes, want {SIZE}")
    return MasterKey(hashlib.sha256(_LABEL + b"id " + secret).digest()[:ID_SIZE], secret)


def load(text: bytes, where: str) -> Keyring:
    """
    Return the keys in a file.

    Raises:
        KeyFileError: it holds none, something else, or one of them twice.  What it holds is not in the error.
    """
    want = f"lines of {2 * SIZE} hexadecimal digits, the key in use first"
    keys = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            secret = bytes.fromhex(line.decode("ascii"))
        except ValueError:
            # Not `from`: the library's message quotes what it read.
            raise KeyFileError(f"{where}:{number}", "another character", want) from None
        if len(secret) != SIZE:
            raise KeyFileError(f"{where}:{number}", f"{len(secret)} bytes", want)
        keys.append(master_key(secret))
    if not keys:
        raise KeyFileError(where, "no key", want)
    if len({key.id for key in keys}) != len(keys):
        raise KeyFileError(where, "a key twice", "every key once")
    return Keyring(tuple(keys))
