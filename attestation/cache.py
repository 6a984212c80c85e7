"""
What need not be worked out twice for the same bytes?

A cache holds facts that depend on nothing but digests: what a certificate says, and that a key made a
signature.  Nothing that depends on time, policy or revocation is in it, so an old cache is never wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from attestation.certificate import (
    Certificate,
    RevocationList,
    Signed,
    check_ecdsa,
    check_rsa_pss_sha384,
    check_signed,
    read_certificate,
    read_revocation_list,
)

_LIMIT = 4096
Fact = TypeVar("Fact")
Argument = TypeVar("Argument")


@dataclass(slots=True)
class Cache:
    """
    Facts about certificates, kept by one verifier for as long as it likes; not for use by several threads.

    Each kind of fact is forgotten altogether when there are more than 4096 of it.
    """

    _certificates: dict[bytes, Certificate] = field(default_factory=dict)
    _revocation_lists: dict[bytes, RevocationList] = field(default_factory=dict)
    _signatures: dict[bytes, None] = field(default_factory=dict)
    _others: dict[object, dict[bytes, Any]] = field(default_factory=dict)

    def certificate(self, der: bytes) -> Certificate:
        """Return what `attestation.certificate.read_certificate` returns, and raise what it raises."""
        digest = hashlib.sha256(der).digest()
        known = self._certificates.get(digest)
        return known or _remember(self._certificates, digest, read_certificate(der))

    def revocation_list(self, der: bytes) -> RevocationList:
        """Return what `attestation.certificate.read_revocation_list` returns, and raise what it raises."""
        digest = hashlib.sha256(der).digest()
        known = self._revocation_lists.get(digest)
        return known or _remember(self._revocation_lists, digest, read_revocation_list(der))

    def fact(self, read: Callable[[Argument], Fact], digest: bytes, argument: Argument) -> Fact:
        """
        Return what `read` returns for an argument, and raise what it raises.

        `digest` is one of all that the answer depends on; `read` depends on nothing else.
        """
        known = self._others.setdefault(read, {})
        if digest not in known:
            _remember(known, digest, read(argument))
        found: Fact = known[digest]
        return found

    def check_rsa_pss_sha384(self, signed: Signed, issuer: Certificate, where: str) -> None:
        """Check what `attestation.certificate.check_rsa_pss_sha384` checks; only success is remembered."""
        self._check(check_rsa_pss_sha384, signed, issuer, where)

    def check_ecdsa(self, signed: Signed, issuer: Certificate, where: str) -> None:
        """Check what `attestation.certificate.check_ecdsa` checks; only success is remembered."""
        self._check(check_ecdsa, signed, issuer, where)

    def check_signed(self, signed: Signed, issuer: Certificate, where: str) -> None:
        """Check what `attestation.certificate.check_signed` checks; only success is remembered."""
        self._check(check_signed, signed, issuer, where)

    def _check(
        self,
        check: Callable[[Signed, PublicKeyTypes, str], None],
        signed: Signed,
        issuer: Certificate,
        where: str,
    ) -> None:
        # What one check accepts another may not: a key that is short, another vendor's parameters.
        made_by = hashlib.sha256(f"{check.__name__} {signed.algorithm}".encode("ascii"))
        for part in (issuer.key_sha256, hashlib.sha256(signed.data).digest(), signed.signature):
            made_by.update(part)
        digest = made_by.digest()
        if digest not in self._signatures:
            check(signed, issuer.public_key, where)
            _remember(self._signatures, digest, None)


def _remember(facts: dict[bytes, Fact], digest: bytes, fact: Fact) -> Fact:
    if len(facts) >= _LIMIT:
        facts.clear()
    facts[digest] = fact
    return fact
