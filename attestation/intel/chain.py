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
    intermediate = path.issuer(leaf, certificates, cache.check_ecdsa, SOURCE)
    root = intermediate_root(intermediate, certificates, roots, cache)
    path.check_lengths((leaf, intermediate, root))
    path.check_critical(leaf)
    return leaf, intermediate, root


def intermediate_root(
    intermediate: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> Certificate:
    """
    Return the root that vouches for a CA of PCK certificates.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `pck_chain`.
    """
    root = _root(intermediate, certificates, roots, cache)
    if intermediate.common_name not in PCK_ISSUERS:
        want = " or ".join(sorted(PCK_ISSUERS))
        raise NotAuthenticError("issuer of the PCK", intermediate.common_name, want, SOURCE)
    path.check_authority(intermediate)
    return root


def signing_chains(
    certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> list[tuple[Certificate, Certificate]]:
    """
    Return the certificate of each key that may sign collateral, with the root's.

    Raises:
        MissingEndorsementError: none was supplied.
        NotAuthenticError: as `pck_chain`, for the first, where none of them is right.
    """
    found, wrong = [], []
    for one in certificates:
        if one.common_name != TCB_SIGNING:
            continue
        try:
            root = _root(one, certificates, roots, cache)
            path.check_critical(one)
        except (MissingEndorsementError, NotAuthenticError) as error:
            wrong.append(error)
        else:
            found.append((one, root))
    if not found:
        missing = MissingEndorsementError(f"{TCB_SIGNING} certificate", "none", "one", SOURCE)
        raise next(iter(wrong), missing)
    return found


def pinned_root(certificates: Sequence[Certificate], roots: Roots, cache: Cache) -> Certificate:
    """
    Return the root among some certificates.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `pck_chain`.
    """
    named = [one for one in certificates if one.common_name == ROOT]
    if not named:
        raise MissingEndorsementError(f"{ROOT} certificate", "none", "one", SOURCE)
    return _root(named[0], certificates, roots, cache)


def _root(
    certificate: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache
) -> Certificate:
    candidates = path.issuers(certificate, certificates, SOURCE)
    root = path.pinned(candidates, roots.keys, roots.name, SOURCE)
    for signed in (certificate, root):
        cache.check_ecdsa(signed.signed, root, signed.common_name)
    path.check_authority(root)
    return root
