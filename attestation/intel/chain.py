"""
Does a pinned root key vouch for a key of Intel's?

The PCK stands under the CA of platforms or of processors; the key that signs collateral directly under the
root.  Names only propose who issued what; signatures decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.intel.roots import Roots

SOURCE = "Intel SGX PCK Certificate and CRL Profile Specification, rev. 1.5"
PCK_ISSUERS = frozenset({"Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"})
TCB_SIGNING = "Intel SGX TCB Signing"
ROOT = "Intel SGX Root CA"


def pck_chain(
    leaf: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> tuple[Certificate, Certificate, Certificate]:
    """
    Return a PCK certificate, that of its CA, and the root's.

    Raises:
        MissingEndorsementError: the certificate of an issuer was not supplied.
        NotAuthenticError: the root is not pinned, a certificate may not sign others or has another name than
            its place demands, or a signature is not its issuer's.

    Not checked:
        Validity, revocation, Intel's extension.

    Source:
        RFC 5280, section 6.1, "Basic Path Validation".  Intel SGX PCK Certificate and CRL Profile
        Specification.
    """
    intermediate = _issuer(leaf, certificates, cache)
    root = _root(intermediate, certificates, roots, cache)
    if intermediate.common_name not in PCK_ISSUERS:
        want = " or ".join(sorted(PCK_ISSUERS))
        raise NotAuthenticError("issuer of the PCK", intermediate.common_name, want, SOURCE)
    _check_authority(intermediate)
    _check_critical(leaf)
    return leaf, intermediate, root


def signing_chain(
    certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> tuple[Certificate, Certificate]:
    """
    Return the certificate of the key that signs collateral, and the root's.

    Raises:
        MissingEndorsementError: one of them was not supplied.
        NotAuthenticError: as `pck_chain`.
    """
    signing = [one for one in certificates if one.common_name == TCB_SIGNING]
    if not signing:
        raise MissingEndorsementError(f"{TCB_SIGNING} certificate", "none", "one", SOURCE)
    root = _root(signing[0], certificates, roots, cache)
    _check_critical(signing[0])
    return signing[0], root


def _root(
    certificate: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> Certificate:
    candidates = _issuers(certificate, certificates)
    pinned = [one for one in candidates if one.key_sha256.hex() in roots.keys]
    if not pinned:
        found = f"{candidates[0].common_name} with key sha256:{candidates[0].key_sha256.hex()}"
        raise NotAuthenticError("root of the chain", found, f"a root key of {roots.name}", SOURCE)
    root = pinned[0]
    for signed in (certificate, root):
        cache.check_ecdsa(signed.signed, root, signed.common_name)
    _check_authority(root)
    return root


def _issuer(certificate: Certificate, certificates: Sequence[Certificate], cache: Cache) -> Certificate:
    candidates = _issuers(certificate, certificates)
    for candidate in candidates[:-1]:
        try:
            cache.check_ecdsa(certificate.signed, candidate, certificate.common_name)
        except SignatureError:
            continue
        return candidate
    cache.check_ecdsa(certificate.signed, candidates[-1], certificate.common_name)
    return candidates[-1]


def _issuers(certificate: Certificate, certificates: Sequence[Certificate]) -> Sequence[Certificate]:
    found = [one for one in certificates if one.subject == certificate.issuer]
    if not found:
        want = certificate.issuer.rfc4514_string()
        raise MissingEndorsementError(f"issuer of {certificate.common_name}", "no certificate", want, SOURCE)
    return found


def _check_authority(certificate: Certificate) -> None:
    if not certificate.signs_certificates:
        source = 'RFC 5280, section 4.2.1.9, "Basic Constraints", and 4.2.1.3, "Key Usage"'
        want = "a CA with keyCertSign"
        raise NotAuthenticError(certificate.common_name, "may not sign certificates", want, source)
    _check_critical(certificate)


def _check_critical(certificate: Certificate) -> None:
    if certificate.unknown_critical:
        found = f"critical extension {', '.join(certificate.unknown_critical)}"
        source = 'RFC 5280, section 4.2, "Certificate Extensions"'
        raise NotAuthenticError(certificate.common_name, found, "none that is not known", source)
