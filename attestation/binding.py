"""
What ties evidence to one question, one guest key and one launch plan?

The 64 bytes of report_data.  A fresh nonce proves that the evidence is not older than the question; the key
is the one to which secrets may be sealed; the plan is what will be launched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

LABEL = b"shim report/v1\0\0"  # 16 bytes: no other protocol's hash input begins like this
SIZE = 64
NONCE_SIZE = 32
PUBLIC_KEY_SIZE = 32
PLAN_DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class Shim:
    """The parts that `report_data` combines, as a relying party expects them."""

    nonce: bytes
    public_key: bytes | None
    plan_digest: bytes


@dataclass(frozen=True, slots=True)
class Exact:
    """The 64 bytes themselves, made by some other formula that the relying party knows."""

    report_data: bytes


@dataclass(frozen=True, slots=True)
class Nonce:
    """The nonce itself, in a field that the evidence has for it: no key and no plan are bound."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Field:
    """What the evidence's own field holds, where another protocol puts it there as it is, of any size."""

    content: bytes


Binding: TypeAlias = Shim | Exact | Nonce | Field


def report_data(nonce: bytes, public_key: bytes | None, plan_digest: bytes) -> bytes:
    """
    Return SHA-512(label ‖ nonce ‖ public key ‖ plan digest), 64 bytes.

    Args:
        nonce: 32 bytes that the relying party chose at random for this one question.
        public_key: The guest's X25519 public key, 32 bytes; None, which counts as zeros, when nothing will be
            sealed to it.
        plan_digest: SHA-256 of the launch plan, 32 bytes.

    Raises:
        ValueError: a part has another length; the caller's bug.

    Not checked:
        That the nonce is fresh: only who chose it can know.
    """
    key = bytes(PUBLIC_KEY_SIZE) if public_key is None else public_key
    parts = (
        ("nonce", nonce, NONCE_SIZE),
        ("public key", key, PUBLIC_KEY_SIZE),
        ("plan digest", plan_digest, PLAN_DIGEST_SIZE),
    )
    for name, part, size in parts:
        if len(part) != size:
            raise ValueError(f"{name}: found {len(part)} bytes, want {size}")
    return hashlib.sha512(LABEL + nonce + key + plan_digest).digest()


def expected(binding: Binding) -> bytes:
    """
    Return the 64 bytes, the nonce or the content of the field that `binding` stands for.

    Raises:
        ValueError: a part has a wrong length; the caller's bug.
    """
    if isinstance(binding, Nonce):
        if len(binding.nonce) != NONCE_SIZE:
            raise ValueError(f"nonce: found {len(binding.nonce)} bytes, want {NONCE_SIZE}")
        return binding.nonce
    if isinstance(binding, Field):
        return binding.content
    if isinstance(binding, Exact):
        if len(binding.report_data) != SIZE:
            raise ValueError(f"report_data: found {len(binding.report_data)} bytes, want {SIZE}")
        return binding.report_data
    return report_data(binding.nonce, binding.public_key, binding.plan_digest)
