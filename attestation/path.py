"""
Who issued a certificate, and may it issue others?

The steps of path validation that are the same for every vendor; which certificates make a chain is each
vendor's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError


@dataclass(frozen=True, slots=True)
class Roots:
    """
    Root keys that may stand at the top of a chain, and nothing else may.

    Attributes:
        name: Whose they are, for messages.
        keys: The SHA-256 of the SubjectPublicKeyInfo of each, hexadecimal.
    """

    name: str
    keys: frozenset[str]


def issuers(certificate: Certificate, certificates: Sequence[Certificate], source: str) -> list[Certificate]:
    """
    Return those that have the name of a certificate's issuer, in their order.

    Raises:
        MissingEndorsementError: none has.
    """
    found = [one for one in certificates if one.subject == certificate.issuer]
    if not found:
        want = certificate.issuer.rfc4514_string()
        raise MissingEndorsementError(f"issuer of {certificate.common_name}", "no certificate", want, source)
    return found


def issuer(
    certificate: Certificate, certificates: Sequence[Certificate], cache: Cache, source: str
) -> Certificate:
    """
    Return the one whose key signed a certificate, with ECDSA.

    Raises:
        MissingEndorsementError: none has the name of its issuer.
        SignatureError: none of those that have it signed it.
    """
    candidates = issuers(certificate, certificates, source)
    for candidate in candidates[:-1]:
        try:
            cache.check_ecdsa(certificate.signed, candidate, certificate.common_name)
        except SignatureError:
            continue
        return candidate
    cache.check_ecdsa(certificate.signed, candidates[-1], certificate.common_name)
    return candidates[-1]


def best_first(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """Return those that are valid at `now` first, newest first: keys are certified more than once."""
    return sorted(
        certificates,
        key=lambda one: (one.not_before <= now <= one.not_after, one.not_after),
        reverse=True,
    )


def pinned(candidates: Sequence[Certificate], keys: frozenset[str], whose: str, source: str) -> Certificate:
    """
    Return the first whose key is pinned.

    Args:
        candidates: At least one.
        keys: SHA-256 of the SubjectPublicKeyInfo of each root key, hexadecimal.
        whose: Whose roots they are, for the message.
        source: The document that says what the chain looks like.

    Raises:
        NotAuthenticError: none is.
    """
    for candidate in candidates:
        if candidate.key_sha256.hex() in keys:
            return candidate
    found = f"{candidates[0].common_name} with key sha256:{candidates[0].key_sha256.hex()}"
    raise NotAuthenticError("root of the chain", found, f"a root key of {whose}", source)


def check_authority(certificate: Certificate) -> None:
    """
    Check that a certificate may issue others.

    Raises:
        NotAuthenticError: it may not, or has a critical extension that is not known.

    Source:
        RFC 5280, section 4.2.1.9, "Basic Constraints", and 4.2.1.3, "Key Usage".
    """
    if not certificate.signs_certificates:
        source = 'RFC 5280, section 4.2.1.9, "Basic Constraints", and 4.2.1.3, "Key Usage"'
        want = "a CA with keyCertSign"
        raise NotAuthenticError(certificate.common_name, "may not sign certificates", want, source)
    check_critical(certificate)


def check_critical(certificate: Certificate) -> None:
    """
    Check that every critical extension of a certificate is known.

    Raises:
        NotAuthenticError: one is not.

    Source:
        RFC 5280, section 4.2, "Certificate Extensions".
    """
    if certificate.unknown_critical:
        found = f"critical extension {', '.join(certificate.unknown_critical)}"
        source = 'RFC 5280, section 4.2, "Certificate Extensions"'
        raise NotAuthenticError(certificate.common_name, found, "none that is not known", source)


def unique(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return the certificates, each once, in their order."""
    return list({one.sha256: one for one in certificates}.values())
