"""
Did a genuine Intel platform say this?

Whether we like what it says is the question of `appraise`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import path_building, revocation, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList, dss_signature
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError, MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.intel import applicable, chain, tcb
from attestation.intel.applicable import Collateral
from attestation.intel.collateral import SOURCE as COLLATERAL_SOURCE
from attestation.intel.endorsements import COMMON_NAME, PckExtensions, read_extensions
from attestation.intel.evidence import SOURCE, Evidence
from attestation.intel.roots import IntelRoots
from attestation.intel.tcb import Recovery, Tcb
from attestation.trail import SILENT, Trail

_COORDINATE = 32


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A quote that a genuine platform signed.

    Attributes:
        evidence: What it said.
        chain: The PCK certificate, that of its CA, the root.
        extensions: Intel's extension of the PCK certificate.
        tcb: How old the platform is; None when no collateral was supplied.
        collateral: What that was read from.
        recovery: What it will be in the next TCB recovery; None when no early documents were supplied.
        revocation_lists: The lists on which nothing of the chains stands, of the PCK's CA and of the root.
        evaluated_at: The time that all of this was judged at.
    """

    evidence: Evidence
    chain: tuple[Certificate, Certificate, Certificate]
    extensions: PckExtensions
    tcb: Tcb | None
    collateral: Collateral | None
    recovery: Recovery | None
    revocation_lists: tuple[RevocationList, ...]
    evaluated_at: datetime


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: IntelRoots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the quote, proven to be signed on a platform that one of `roots` vouches for.

    The order of the checks is the order of the verdicts: format, authenticity, revocation, validity, what is
    missing though it was asked for, and last the level of the TCB.

    Args:
        evidence: From `attestation.intel.evidence.parse`.
        endorsements: Certificates, lists and collateral, besides the certificates inside the evidence.
        roots: The only keys that may stand at the top.
        now: The time to judge at, with its time zone.
        skew: By how much clocks may differ.
        crl_required: Refuse when a list of the PCK's CA or of the root is missing.  One that was supplied is
            always used.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError,
        TcbError.

    Not checked:
        Everything that a policy is for: DEBUG, measurements, the status of the TCB, freshness.

    Source:
        Intel TDX DCAP Quoting Library API, revision 0.9, appendix A.3, "Quote Format".  Intel SGX PCK
        Certificate and CRL Profile Specification, revision 1.5.
    """
    cache = cache if cache is not None else Cache()
    supplied = endorsements | evidence.endorsements
    certificates = path_building.best_first([cache.certificate(one) for one in supplied.certificates], now)

    leaves = _signing_certificates(evidence, certificates)
    proven = chain.pck_chain(leaves, certificates, roots, cache, now)
    leaf = proven[0]
    trail.chain(proven, roots.name, chain.SOURCE)
    extensions = cache.fact(read_extensions, leaf.sha256, leaf)
    trail.signature("report of the quoting enclave", leaf, SOURCE)
    _check_attestation_key(evidence)
    trail.held("attestation key", "its digest", "in the report of the quoting enclave", SOURCE)
    _check_quote(evidence)
    trail.held("quote signature", "made by the attestation key", "made by the attestation key", SOURCE)
    collateral = applicable.find(evidence, extensions, supplied.documents, certificates, roots, cache, now)
    if collateral is None:
        _check_quoting_enclave(evidence, roots)
        trail.held("quoting enclave", "its signer and product", "those of Intel's", SOURCE)
    given = [] if collateral is None else [collateral]
    lists = _revocation_lists(proven, given, supplied.revocation_lists, now, cache)
    trail.lists(lists, revocation.SOURCE, required=crl_required)
    _check_validity(proven, lists, given, now, skew)
    trail.validity(proven, now, validity.SOURCE)
    if crl_required and len(lists) < 2:
        want = f"one of {proven[1].common_name} and one of {proven[2].common_name}"
        raise MissingEndorsementError("revocation lists", f"{len(lists)}", want, revocation.SOURCE)
    level = None
    if collateral is not None:
        _leave(trail, collateral, now)
        level = tcb.evaluate(
            evidence.report, evidence.signature.qe_report, extensions, collateral.info, collateral.identity
        )
        trail.held("TCB level", level.summary, "a level of Intel's", tcb.SOURCE)
    found = Authenticated(evidence, proven, extensions, level, collateral, None, lists, now)
    return replace(found, recovery=_announced(found, supplied, certificates, roots, cache, skew, trail))


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(dss_signature(signature), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _signing_certificates(evidence: Evidence, certificates: Sequence[Certificate]) -> list[Certificate]:
    """Return the PCK certificates of the key that signed the report of the quoting enclave."""
    signing = [one for one in certificates if one.common_name == COMMON_NAME]
    if not signing:
        raise MissingEndorsementError(f"{COMMON_NAME}", "none", "that of the platform", SOURCE)
    signature = evidence.signature
    by_key = {one.key_sha256: one.public_key for one in signing}
    signers = {
        digest
        for digest, key in by_key.items()
        if isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1)
        and _verifies(key, signature.qe_report_signature, signature.qe_report.raw)
    }
    if not signers:
        want = f"that of the {COMMON_NAME}"
        raise SignatureError("QE report signature", "made by another key", want, SOURCE)
    return [one for one in signing if one.key_sha256 in signers]


def _check_attestation_key(evidence: Evidence) -> None:
    """Check that the quoting enclave vouches for the attestation key, and is no enclave for debugging."""
    signature = evidence.signature
    want = hashlib.sha256(signature.key + signature.qe_authentication).digest() + bytes(32)
    if signature.qe_report.report_data != want:
        found = signature.qe_report.report_data.hex()
        raise NotAuthenticError("QE report.REPORTDATA", found, f"{want.hex()} of the key", SOURCE)
    if signature.qe_report.debug:
        raise NotAuthenticError("QE report.ATTRIBUTES", "DEBUG", "a quoting enclave for production", SOURCE)


def _check_quoting_enclave(evidence: Evidence, roots: IntelRoots) -> None:
    """Check that it is a quoting enclave at all, where no collateral says which enclaves are."""
    report = evidence.signature.qe_report
    signer, product = roots.quoting[evidence.tee]
    if (report.mr_signer, report.isv_prod_id) != (signer, product):
        found = f"signer {report.mr_signer.hex()}, product {report.isv_prod_id}"
        want = f"signer {signer.hex()}, product {product}: the quoting enclave for {evidence.tee}"
        raise NotAuthenticError("QE report", found, want, SOURCE)


def _check_quote(evidence: Evidence) -> None:
    key = evidence.signature.key
    x, y = int.from_bytes(key[:_COORDINATE], "big"), int.from_bytes(key[_COORDINATE:], "big")
    try:
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise NotAuthenticError("attestation key", key.hex(), "a point of P-256", SOURCE) from error
    if not _verifies(public, evidence.signature.quote, evidence.signed_bytes):
        raise SignatureError("quote signature", "made by another key", "that of the attestation key", SOURCE)


def _revocation_lists(
    proven: tuple[Certificate, Certificate, Certificate],
    collateral: Sequence[Collateral],
    lists: Sequence[bytes],
    now: datetime,
    cache: Cache,
) -> tuple[RevocationList, ...]:
    leaf, intermediate, root = proven
    below_root = [intermediate, *(signer for one in collateral for signer, _ in one.chains)]
    found = (
        revocation.check([leaf], intermediate, lists, now, cache),
        revocation.check(below_root, root, lists, now, cache),
    )
    return tuple(one for one in found if one is not None)


def _check_validity(
    proven: tuple[Certificate, ...],
    lists: Sequence[RevocationList],
    collateral: Sequence[Collateral],
    now: datetime,
    skew: timedelta,
) -> None:
    signing = (one for given in collateral for signer in given.chains for one in signer)
    certificates = (*proven, *signing)
    validity.check_certificates(certificates, now, skew)
    for one in lists:
        name = f"revocation list of {_common_name(one, certificates)}"
        validity.check(one.this_update, one.next_update, now, skew, name)
    for given in collateral:
        for name, document in (("tcbInfo", given.info), ("enclaveIdentity", given.identity)):
            validity.check(document.issued, document.next_update, now, skew, name)


def _leave(trail: Trail, one: Collateral, now: datetime) -> None:
    """Leave a line for each document that is signed and current."""
    for signer in one.chains:
        trail.chain(signer, "Intel", COLLATERAL_SOURCE)
    for name, document in (("TCB info", one.info), ("identity", one.identity)):
        period = f"{document.issued:%Y-%m-%d} to {document.next_update:%Y-%m-%d}"
        said = f"{document.id}, TCB recovery {document.evaluation}, {period}"
        trail.held(
            name, said, f"signed, about this platform, good at {now:%Y-%m-%d %H:%M}", COLLATERAL_SOURCE
        )


def _announced(  # noqa: PLR0913, PLR0917  # what evidence is judged by
    found: Authenticated,
    supplied: Endorsements,
    certificates: Sequence[Certificate],
    roots: IntelRoots,
    cache: Cache,
    skew: timedelta,
    trail: Trail,
) -> Recovery | None:
    """What is not in force refuses nothing: what is wrong with it becomes the reason of a warning."""
    evidence, extensions, now = found.evidence, found.extensions, found.evaluated_at
    number = None
    try:
        early = applicable.find(
            evidence, extensions, supplied.early, certificates, roots, cache, now, supplied.documents
        )
        if early is None:
            return None
        number = early.info.evaluation
        lists = _revocation_lists(found.chain, [early], supplied.revocation_lists, now, cache)
        _check_validity(found.chain, lists, [early], now, skew)
        _leave(trail, early, now)
        qe = evidence.signature.qe_report
        level = tcb.evaluate(evidence.report, qe, extensions, early.info, early.identity)
    except AuthenticationError as error:
        return Recovery(number, None, f"{error.where} {error.found}, want {error.want}")
    return Recovery(number, level, "")


def _common_name(one: RevocationList, certificates: Sequence[Certificate]) -> str:
    return next((known.common_name for known in certificates if known.subject == one.issuer), "the issuer")
