"""
Does a pinned root key vouch for a key of Intel's?

The PCK stands under the CA of platforms or of processors; the key that signs collateral directly under the
root.  Names only propose who issued what; signatures decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attestation import path, path_building
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import MissingEndorsementError, NotAuthenticError
from attestation.path import Roots

SOURCE = "Intel SGX PCK Certificate and CRL Profile Specification, rev. 1.5"
PCK_ISSUERS = frozenset({"Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"})
TCB_SIGNING = "Intel SGX TCB Signing"
ROOT = "Intel SGX Root CA"


def pck_chain(
    leaves: Sequence[Certificate],
    certificates: Sequence[Certificate],
    roots: Roots,
    cache: Cache,
    now: datetime,
) -> tuple[Certificate, Certificate, Certificate]:
    """
    Return one of some PCK certificates, that of its CA, and the root's.

    Raises:
        MissingEndorsementError: the certificate of an issuer was not supplied.
        NotAuthenticError: the root is not pinned, a certificate may not sign others or has another name than
            its place demands, or a signature is not its issuer's.

    Not checked:
        Validity: `now` decides only between chains that are equally right.  Revocation, Intel's extension.

    Source:
        RFC 5280, section 6.1, "Basic Path Validation".  Intel SGX PCK Certificate and CRL Profile
        Specification.
    """

    def accept(chain: Sequence[Certificate]) -> None:
        path.check_pinned(chain, roots.keys, roots.name, SOURCE)
        path.check_count(chain, 3, SOURCE)
        _check_issuer(chain[1])

    leaf, intermediate, root = path_building.chain(
        leaves, certificates, cache.check_ecdsa, SOURCE, now=now, accept=accept
    )
    return leaf, intermediate, root


def intermediate_root(
    intermediate: Certificate, certificates: Sequence[Certificate], roots: Roots, now: datetime
) -> Certificate:
    """
    Return the root that vouches for a CA of PCK certificates.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `pck_chain`.
    """
    root = _root(intermediate, certificates, roots, Cache(), now)
    _check_issuer(intermediate)
    path.check_authority(intermediate)
    return root


def signing_chains(
    certificates: Sequence[Certificate], roots: Roots, cache: Cache, now: datetime
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
            root = _root(one, certificates, roots, cache, now)
        except (MissingEndorsementError, NotAuthenticError) as error:
            wrong.append(error)
        else:
            found.append((one, root))
    if not found:
        missing = MissingEndorsementError(f"{TCB_SIGNING} certificate", "none", "one", SOURCE)
        raise next(iter(wrong), missing)
    return found


def pinned_root(certificates: Sequence[Certificate], roots: Roots, now: datetime) -> Certificate:
    """
    Return the root among some certificates.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `pck_chain`.
    """
    named = [one for one in certificates if one.common_name == ROOT]
    if not named:
        raise MissingEndorsementError(f"{ROOT} certificate", "none", "one", SOURCE)
    root = _root(named[0], certificates, roots, Cache(), now)
    path.check_authority(root)
    return root


def _root(
    certificate: Certificate,
    certificates: Sequence[Certificate],
    roots: Roots,
    cache: Cache,
    now: datetime,
) -> Certificate:
    """Return the root that stands directly above a certificate, or is it."""

    def accept(chain: Sequence[Certificate]) -> None:
        path.check_pinned(chain, roots.keys, roots.name, SOURCE)
        path.check_count(chain, 1 + (certificate.subject != certificate.issuer), SOURCE)

    return path_building.chain(
        [certificate], certificates, cache.check_ecdsa, SOURCE, now=now, accept=accept
    )[-1]


def _check_issuer(intermediate: Certificate) -> None:
    if intermediate.common_name not in PCK_ISSUERS:
        want = " or ".join(sorted(PCK_ISSUERS))
        raise NotAuthenticError("issuer of the PCK", intermediate.common_name, want, SOURCE)
