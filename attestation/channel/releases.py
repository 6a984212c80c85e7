"""Was this nonce answered before?  What a relying party keeps between challenges, as an argument."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from attestation.channel.errors import NonceError
from attestation.result import AttestationResult


class Releases(Protocol):
    """
    Where secrets are.

    One that serves several guests, or outlives its process, spends the nonce, writes down the release and
    returns the secret in one transaction, which is committed before it returns.
    """

    def release(self, nonce: bytes, result: AttestationResult) -> bytes:
        """
        Return the secret for a guest with this affirming result, once for a nonce.

        Raises:
            NonceError: it was spent before.
        """


class MemoryReleases:
    """One secret for every guest that is affirmed; it remembers nonces for as long as it lives."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._spent: set[bytes] = set()
        self._lock = Lock()

    def release(self, nonce: bytes, _result: AttestationResult) -> bytes:
        """Return the secret, as `Releases` says."""
        with self._lock:
            if nonce in self._spent:
                raise NonceError("nonce", f"{nonce.hex()}, spent before", "one that was never answered")
            self._spent.add(nonce)
        return self._secret
