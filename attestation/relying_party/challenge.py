"""
A question that nobody has to remember.

A nonce says itself until when it counts and proves who made it, so that a flood of challenges fills no
memory, and any instance with the same keys can take the answer.  Its key changes with time: it is derived for
the day in which the nonce expires.  That a nonce is used once is the store's business.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from attestation.relying_party.errors import RefusedError
from attestation.relying_party.keys import Keyring, MasterKey
from attestation.verdict import Verdict

SIZE = 32
ROTATION = 24 * 60 * 60  # seconds for which one derived key is used
_EXPIRY, _RANDOM, _TAG = 4, 12, 16


@dataclass(frozen=True, slots=True)
class Challenge:
    """A nonce of 32 bytes, and the second (Unix time) after which it counts no more."""

    nonce: bytes
    expires: int


def make(keys: Keyring, random: Callable[[int], bytes], *, now: int, lifetime: int) -> Challenge:
    """
    Return a new challenge.

    Args:
        keys: The first one is used.
        random: Returns as many random bytes as it is asked for.
        now: The time, seconds since 1970.
        lifetime: For how many seconds it counts.

    Raises:
        ValueError: a time that 32 bits do not hold; the caller's bug.
    """
    expires = now + lifetime
    if not 0 < expires < 1 << 8 * _EXPIRY:
        raise ValueError(f"expires: found {expires}, want a time before 2106")
    body = expires.to_bytes(_EXPIRY, "big") + random(_RANDOM)
    return Challenge(body + _tag(keys.current, body, expires), expires)


def check(keys: Keyring, nonce: bytes, *, now: int) -> Challenge:
    """
    Return the challenge that a nonce is.

    Raises:
        RefusedError: nobody with these keys made it, or its time is over.

    Not checked:
        That it is used for the first time: `Ledger` holds that.
    """
    body, tag = nonce[:-_TAG], nonce[-_TAG:]
    expires = int.from_bytes(body[:_EXPIRY], "big")
    genuine = len(nonce) == SIZE and any(
        hmac.compare_digest(_tag(key, body, expires), tag) for key in keys.keys
    )
    if not genuine or now > expires:
        raise RefusedError(Verdict.WRONG_BINDING)
    return Challenge(nonce, expires)


def _tag(key: MasterKey, body: bytes, expires: int) -> bytes:
    return key.mac(f"challenge {expires // ROTATION}", body)[:_TAG]
