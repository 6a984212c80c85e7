"""
Does a pinned root key vouch for a key of Intel's?

The PCK stands under the CA of platforms or of processors; the key that signs collateral directly under the
root.  Names only propose who issued what; signatures decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from attestation import path
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import MissingEndorsementError, NotAuthenticError
from attestation.path import Roots

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
    intermediate = path.issuer(leaf, certificates, cache, SOURCE)
    root = _root(intermediate, certificates, roots, cache)
    if intermediate.common_name not in PCK_ISSUERS:
        want = " or ".join(sorted(PCK_ISSUERS))
        raise NotAuthenticError("issuer of the PCK", intermediate.common_name, want, SOURCE)
    path.check_authority(intermediate)
    path.check_critical(leaf)
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
    path.check_critical(signing[0])
    return signing[0], root


def _root(
    certificate: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> Certificate:
    candidates = path.issuers(certificate, certificates, SOURCE)
    root = path.pinned(candidates, roots.keys, roots.name, SOURCE)
    for signed in (certificate, root):
        cache.check_ecdsa(signed.signed, root, signed.common_name)
    path.check_authority(root)
    return root
