"""
May these certificates stand where they stand in a chain?

The steps of path validation that are the same for every vendor.  How a chain is found is another question:
see `attestation.path_building`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attestation.certificate import Certificate, Signed
from attestation.errors import NotAuthenticError

Check = Callable[[Signed, Certificate, str], None]


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


def check_pinned(chain: Sequence[Certificate], keys: frozenset[str], whose: str, source: str) -> None:
    """
    Check that the key at the top of a chain is pinned.

    Args:
        chain: From the leaf to the root.
        keys: SHA-256 of the SubjectPublicKeyInfo of each root key, hexadecimal.
        whose: Whose roots they are, for the message.
        source: The document that says what the chain looks like.

    Raises:
        NotAuthenticError: it is not.
    """
    root = chain[-1]
    if root.key_sha256.hex() not in keys:
        found = f"{root.common_name} with key sha256:{root.key_sha256.hex()}"
        raise NotAuthenticError("root of the chain", found, f"a root key of {whose}", source)


def check_count(chain: Sequence[Certificate], want: int, source: str) -> None:
    """
    Check that a chain has as many certificates as the vendor's have.

    Raises:
        NotAuthenticError: more or fewer.
    """
    if len(chain) != want:
        raise NotAuthenticError("chain", f"{len(chain)} certificates", f"{want}", source)


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
