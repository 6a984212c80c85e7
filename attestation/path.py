"""
Who issued a certificate, and may it issue others?

The steps of path validation that are the same for every vendor; which certificates make a chain is each
vendor's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from attestation.certificate import Certificate, Signed
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError

Check = Callable[[Signed, Certificate, str], None]
_LONGEST = 8


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
    certificate: Certificate, certificates: Sequence[Certificate], check: Check, source: str
) -> Certificate:
    """
    Return the one whose key signed a certificate.

    Args:
        certificate: Whose issuer is looked for.
        certificates: Among which it is.
        check: How signatures are checked: a method of a cache.
        source: The document that says what the chain looks like.

    Raises:
        MissingEndorsementError: none has the name of its issuer.
        SignatureError: none of those that have it signed it.
    """
    candidates = issuers(certificate, certificates, source)
    for candidate in candidates[:-1]:
        try:
            check(certificate.signed, candidate, certificate.common_name)
        except SignatureError:
            continue
        return candidate
    check(certificate.signed, candidates[-1], certificate.common_name)
    return candidates[-1]


def chain(
    leaf: Certificate,
    certificates: Sequence[Certificate],
    check: Check,
    source: str,
    *,
    known: frozenset[str] = frozenset(),
) -> tuple[Certificate, ...]:
    """
    Return the certificates from `leaf` to one that its own key signed.

    Args:
        leaf: Where the chain begins.
        certificates: Among which its issuers are.
        check: How signatures are checked: a method of a cache.
        source: The document that says what the chain looks like.
        known: Critical extensions of the leaf that the caller deals with, dotted.

    Raises:
        MissingEndorsementError: an issuer is missing.
        NotAuthenticError: a signature is not that of the issuer, an issuer may not issue, or not for so many
            below it, or a critical extension is not known.

    Not checked:
        Whether the last one is trusted: see `pinned`.  Validity and revocation.
    """
    found = [leaf]
    while found[-1].subject != found[-1].issuer:
        if len(found) > _LONGEST:
            raise NotAuthenticError("chain", f"more than {_LONGEST} certificates", "fewer", source)
        found.append(issuer(found[-1], certificates, check, source))
        check_authority(found[-1])
    check(found[-1].signed, found[-1], found[-1].common_name)
    check_critical(leaf, known)
    check_lengths(found)
    return tuple(found)


def best_first(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """
    Return those that are valid at `now` first, newest first: keys are certified more than once.

    Of the certificates of a root that another one has certified as well its own comes first: else a chain
    would lead past it.
    """
    return sorted(
        certificates,
        key=lambda one: (
            one.not_before <= now <= one.not_after,
            one.signs_certificates and one.subject == one.issuer,
            one.not_after,
        ),
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


def check_lengths(chain: Sequence[Certificate]) -> None:
    """
    Check that no more issuers stand below a certificate of a chain than it allows.

    Args:
        chain: From the leaf to the root.

    Raises:
        NotAuthenticError: one allows fewer.

    Source:
        RFC 5280, section 4.2.1.9, "Basic Constraints": issuers that issue themselves do not count.
    """
    below = 0
    for one in chain[1:]:
        if one.path_length is not None and below > one.path_length:
            source = 'RFC 5280, section 4.2.1.9, "Basic Constraints"'
            want = f"at most {one.path_length}"
            raise NotAuthenticError(one.common_name, f"{below} issuers below it", want, source)
        below += one.subject != one.issuer


def check_critical(certificate: Certificate, known: frozenset[str] = frozenset()) -> None:
    """
    Check that every critical extension of a certificate is known, or one of `known`.

    Raises:
        NotAuthenticError: one is not.

    Source:
        RFC 5280, section 4.2, "Certificate Extensions".
    """
    unknown = [one for one in certificate.unknown_critical if one not in known]
    if unknown:
        found = f"critical extension {', '.join(unknown)}"
        source = 'RFC 5280, section 4.2, "Certificate Extensions"'
        raise NotAuthenticError(certificate.common_name, found, "none that is not known", source)


def unique(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return the certificates, each once, in their order."""
    return list({one.sha256: one for one in certificates}.values())
