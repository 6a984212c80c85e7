"""
Did a genuine Intel platform say this?

Whether we like what it says is the question of `appraise`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import SignatureAlgorithmOID

from attestation import revocation, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList, Signed
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.intel import chain, tcb
from attestation.intel.collateral import SignedDocument
from attestation.intel.endorsements import COMMON_NAME, PckExtensions, read_extensions
from attestation.intel.evidence import SOURCE, Evidence
from attestation.intel.tcb import Tcb
from attestation.intel.tcb_info import EnclaveIdentity, TcbInfo, read as read_document
from attestation.path import Roots

Document = TypeVar("Document", TcbInfo, EnclaveIdentity)
_COORDINATE = 32
_ECDSA_SHA256 = SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string
_COLLATERAL_SOURCE = "Intel SGX and TDX Provisioning Certification Service, API version 4"


@dataclass(frozen=True, slots=True)
class Collateral:
    """The signed documents that tell how old a platform is, and by whom they are signed."""

    info: TcbInfo
    identity: EnclaveIdentity
    chain: tuple[Certificate, Certificate]


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
        revocation_lists: The lists on which nothing of the chains stands, of the PCK's CA and of the root.
    """

    evidence: Evidence
    chain: tuple[Certificate, Certificate, Certificate]
    extensions: PckExtensions
    tcb: Tcb | None
    collateral: Collateral | None
    revocation_lists: tuple[RevocationList, ...]


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
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
    certificates = _best_first([cache.certificate(one) for one in supplied.certificates], now)

    leaf = _signing_certificate(evidence, certificates)
    proven = chain.pck_chain(leaf, certificates, roots, cache)
    extensions = cache.fact(read_extensions, leaf.sha256, leaf)
    _check_attestation_key(evidence)
    _check_quote(evidence)
    signing = chain.signing_chain(certificates, roots, cache) if supplied.documents else None
    documents = [_signed(one, signing[0], cache) for one in supplied.documents] if signing else []
    collateral = _collateral(evidence, extensions, documents, signing, now)

    lists = _revocation_lists(proven, collateral, supplied.revocation_lists, cache)
    _check_validity((*proven, *(collateral.chain if collateral else ())), lists, collateral, now, skew)
    if crl_required and len(lists) < 2:
        want = f"one of {proven[1].common_name} and one of {proven[2].common_name}"
        raise MissingEndorsementError("revocation lists", f"{len(lists)}", want, revocation.SOURCE)
    level = None
    if collateral is not None:
        qe = evidence.signature.qe_report
        level = tcb.evaluate(evidence.report, qe, extensions, collateral.info, collateral.identity)
    return Authenticated(evidence, proven, extensions, level, collateral, lists)


def _best_first(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """Return those that are valid at `now` first, newest first: keys are certified more than once."""
    return sorted(
        certificates,
        key=lambda one: (one.not_before <= now <= one.not_after, one.not_after),
        reverse=True,
    )


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    numbers = (int.from_bytes(signature[:_COORDINATE], "big"), int.from_bytes(signature[_COORDINATE:], "big"))
    try:
        key.verify(encode_dss_signature(*numbers), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _signing_certificate(evidence: Evidence, certificates: Sequence[Certificate]) -> Certificate:
    """Return the PCK certificate whose key signed the report of the quoting enclave."""
    signing = [one for one in certificates if one.common_name == COMMON_NAME]
    if not signing:
        raise MissingEndorsementError(f"{COMMON_NAME}", "none", "that of the platform", SOURCE)
    signature = evidence.signature
    for one in signing:
        key = one.public_key
        if (
            isinstance(key, ec.EllipticCurvePublicKey)
            and isinstance(key.curve, ec.SECP256R1)
            and _verifies(key, signature.qe_report_signature, signature.qe_report.raw)
        ):
            return one
    raise SignatureError("QE report signature", "made by another key", f"that of the {COMMON_NAME}", SOURCE)


def _check_attestation_key(evidence: Evidence) -> None:
    """Check that the quoting enclave vouches for the attestation key, and is no enclave for debugging."""
    signature = evidence.signature
    want = hashlib.sha256(signature.key + signature.qe_authentication).digest() + bytes(32)
    if signature.qe_report.report_data != want:
        found = signature.qe_report.report_data.hex()
        raise NotAuthenticError("QE report.REPORTDATA", found, f"{want.hex()} of the key", SOURCE)
    if signature.qe_report.debug:
        raise NotAuthenticError("QE report.ATTRIBUTES", "DEBUG", "a quoting enclave for production", SOURCE)


def _check_quote(evidence: Evidence) -> None:
    key = evidence.signature.key
    x, y = int.from_bytes(key[:_COORDINATE], "big"), int.from_bytes(key[_COORDINATE:], "big")
    try:
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise NotAuthenticError("attestation key", key.hex(), "a point of P-256", SOURCE) from error
    if not _verifies(public, evidence.signature.quote, evidence.signed_bytes):
        raise SignatureError("quote signature", "made by another key", "that of the attestation key", SOURCE)


def _signed(one: SignedDocument, signing: Certificate, cache: Cache) -> TcbInfo | EnclaveIdentity:
    """Return what a document says, which the key of `signing` has signed."""
    document = cache.fact(read_document, hashlib.sha256(one.body).digest(), one.body)
    r, s = (int.from_bytes(part, "big") for part in (one.signature[:32], one.signature[32:]))
    signed = Signed(one.body, encode_dss_signature(r, s), _ECDSA_SHA256)
    cache.check_ecdsa(signed, signing, f"collateral {document.id}")
    return document


def _collateral(
    evidence: Evidence,
    extensions: PckExtensions,
    documents: Sequence[TcbInfo | EnclaveIdentity],
    signing: tuple[Certificate, Certificate] | None,
    now: datetime,
) -> Collateral | None:
    """Return what is about this platform among the collateral, or None where there is no collateral."""
    if signing is None:
        return None
    infos = [one for one in documents if isinstance(one, TcbInfo) and one.id == evidence.tee]
    ours = [one for one in infos if (one.fmspc, one.pce_id) == (extensions.fmspc, extensions.pce_id)]
    if not ours:
        found = ", ".join(one.fmspc.hex() for one in infos) or "none"
        want = f"one for {evidence.tee} with FMSPC {extensions.fmspc.hex()}"
        raise MissingEndorsementError("TCB info", found, want, _COLLATERAL_SOURCE)
    name = "TD_QE" if evidence.tee == "TDX" else "QE"
    identities = [one for one in documents if isinstance(one, EnclaveIdentity) and one.id == name]
    if not identities:
        raise MissingEndorsementError("QE identity", "none", name, _COLLATERAL_SOURCE)
    return Collateral(_current(ours, now), _current(identities, now), signing)


def _current(documents: Sequence[Document], now: datetime) -> Document:
    """Return the one to judge by: valid at `now`, of the newest TCB recovery, issued last."""
    return max(documents, key=lambda one: (one.issued <= now <= one.next_update, one.evaluation, one.issued))


def _revocation_lists(
    proven: tuple[Certificate, Certificate, Certificate],
    collateral: Collateral | None,
    lists: Sequence[bytes],
    cache: Cache,
) -> tuple[RevocationList, ...]:
    leaf, intermediate, root = proven
    below_root = [intermediate, *([collateral.chain[0]] if collateral else [])]
    found = (
        revocation.check([leaf], intermediate, lists, cache),
        revocation.check(below_root, root, lists, cache),
    )
    return tuple(one for one in found if one is not None)


def _check_validity(
    certificates: Sequence[Certificate],
    lists: Sequence[RevocationList],
    collateral: Collateral | None,
    now: datetime,
    skew: timedelta,
) -> None:
    for certificate in certificates:
        validity.check(certificate.not_before, certificate.not_after, now, skew, certificate.common_name)
    for one in lists:
        name = f"revocation list of {_common_name(one, certificates)}"
        validity.check(one.this_update, one.next_update, now, skew, name)
    if collateral is not None:
        for name, document in (("tcbInfo", collateral.info), ("enclaveIdentity", collateral.identity)):
            validity.check(document.issued, document.next_update, now, skew, name)


def _common_name(one: RevocationList, certificates: Sequence[Certificate]) -> str:
    return next((known.common_name for known in certificates if known.subject == one.issuer), "the issuer")
