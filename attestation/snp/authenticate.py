"""
Did a genuine AMD processor say this?

Whether we like what it says is the question of `appraise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation import path_building, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, RevocationList
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.snp import chain, revocation
from attestation.snp.chain import Chain
from attestation.snp.endorsements import (
    COMMON_NAMES,
    SigningKeyExtensions,
    check_product,
    read_extensions,
)
from attestation.snp.evidence import Evidence
from attestation.snp.products import FAMILY_19H
from attestation.snp.report import SOURCE, Report, SigningKey
from attestation.snp.roots import Roots
from attestation.trail import SILENT, Trail


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    A report that a genuine processor signed.

    Attributes:
        report: What it said.
        chain: The certificates that prove it.
        extensions: AMD's extensions of the signing key's certificate.
        revocation_list: The list on which nothing of the chain stands, or None when none was supplied.
    """

    report: Report
    chain: Chain
    extensions: SigningKeyExtensions
    revocation_list: RevocationList | None

    @property
    def chip_id(self) -> bytes | None:
        """
        The chip, 64 or 8 bytes, or None when nothing names it.

        A VCEK names its chip even if the host masks CHIP_ID; with a VLEK only CHIP_ID can.
        """
        if self.extensions.hwid is not None:
            return self.extensions.hwid
        chip_id = self.report.chip_id[: self.chain.product.hwid_size]
        return chip_id if any(chip_id) else None


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the report, proven to be signed by a processor that one of `roots` vouches for.

    The order of the checks is the order of the verdicts: format, authenticity, revocation, validity, and
    last what is missing though it was asked for.

    Args:
        evidence: From `attestation.snp.evidence.parse`.
        endorsements: Certificates and revocation lists, besides those that came with the evidence.
        roots: The only keys that may stand at the top.
        now: The time to judge at, with its time zone.
        skew: By how much clocks may differ.
        crl_required: Refuse when no revocation list of the root was supplied.  One that was is always used.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError.

    Not checked:
        Everything that a policy is for: DEBUG, measurement, firmware versions, freshness.

    Source:
        AMD publication 56860, revision 1.58, section 7.3, "Attestation".  AMD publication 57230, "Versioned
        Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification".
    """
    cache = cache if cache is not None else Cache()
    report = evidence.report
    supplied = endorsements | evidence.endorsements
    certificates = path_building.best_first([cache.certificate(der) for der in supplied.certificates], now)

    leaves = _signing_certificates(report, certificates)
    proven = chain.build(leaves, certificates, roots, cache, now)
    leaf = proven.leaf
    extensions = read_extensions(leaf, proven.product)
    trail.chain(proven.certificates, roots.name, chain.SOURCE)
    _check_identity(report, proven, extensions)
    reported, product = "REPORTED_TCB, CHIP_ID, CPUID, productName", proven.product.name
    trail.held(reported, f"those of a {product}", f"those of the {leaf.common_name}", chain.SOURCE)
    _check_signature(report, leaf)
    trail.signature("report signature", leaf, SOURCE)

    revocation_list = revocation.check(proven, supplied.revocation_lists, now, cache)
    trail.lists([revocation_list], revocation.SOURCE, required=crl_required)
    validity.check_certificates(proven.certificates, now, skew)
    trail.validity(proven.certificates, now, validity.SOURCE)
    if revocation_list is not None:
        validity.check(revocation_list.this_update, revocation_list.next_update, now, skew, "revocation list")
    elif crl_required:
        want = f"one of {proven.root.common_name}"
        raise MissingEndorsementError("revocation list", "none", want, revocation.SOURCE)
    return Authenticated(report, proven, extensions, revocation_list)


def _signing_certificates(report: Report, certificates: Sequence[Certificate]) -> Sequence[Certificate]:
    """Return those whose key made the signature, or one that is likely to say why none did."""
    kind = report.signing_key
    if kind is SigningKey.NONE or not (report.signature_r or report.signature_s):
        found = "MASK_CHIP_KEY set" if report.mask_chip_key else f"SIGNING_KEY {kind.name}"
        raise NotAuthenticError("report signature", f"none ({found})", "one", SOURCE)
    signing = [certificate for certificate in certificates if certificate.common_name in COMMON_NAMES]
    of_kind = [certificate for certificate in signing if COMMON_NAMES[certificate.common_name] is kind]
    makers = [certificate for certificate in signing if len(signing) > 1 and _is_signed(report, certificate)]
    if not of_kind and not makers:
        want = f"that of chip {report.chip_id[:8].hex()}…" if any(report.chip_id) else "that of the signer"
        raise MissingEndorsementError(f"{kind.name} certificate", "none", want, SOURCE)
    leaves = makers or of_kind[:1]
    if all(COMMON_NAMES[one.common_name] is not kind for one in leaves):
        found = f"SIGNING_KEY {kind.name}"
        raise NotAuthenticError("report.KEY_INFO", found, leaves[0].common_name, SOURCE)
    return [one for one in leaves if COMMON_NAMES[one.common_name] is kind]


def _check_identity(report: Report, proven: Chain, extensions: SigningKeyExtensions) -> None:
    """Check that the certificate is that of the product, the firmware and the chip that the report names."""
    product = proven.product
    where = proven.leaf.common_name
    check_product(where, extensions, product)
    # A report of version 2 does not say which layout its TCB_VERSIONs have; all that know Turin's say it.
    if report.cpuid is None and product.tcb_layout is not FAMILY_19H:
        raise NotAuthenticError("report.VERSION", "2, without CPUID", f"3 or later on {product.name}", SOURCE)
    if report.cpuid is not None and not product.has_cpuid(*report.cpuid[:2]):
        cpu = "family 0x{:x}, model 0x{:x}".format(*report.cpuid)
        raise NotAuthenticError("report.CPUID", cpu, f"a processor of {proven.root.common_name}", SOURCE)
    for component, found, want in zip(product.tcb_layout, report.reported_tcb, extensions.tcb, strict=True):
        if found != want:
            field = f"report.REPORTED_TCB.{component}"
            raise NotAuthenticError(field, str(found), f"{want} as in {where}", SOURCE)
    hwid = extensions.hwid
    # All zeros is what a host that sets MASK_CHIP_ID lets the firmware write; the key still names the chip.
    if hwid is not None and any(report.chip_id) and report.chip_id != hwid.ljust(len(report.chip_id), b"\0"):
        raise NotAuthenticError("report.CHIP_ID", report.chip_id.hex(), f"{hwid.hex()} as in {where}", SOURCE)


def _check_signature(report: Report, certificate: Certificate) -> None:
    key = certificate.public_key
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        where = f"{certificate.common_name} key"
        raise NotAuthenticError(where, "another kind of key", "ECDSA P-384", SOURCE)
    signature = encode_dss_signature(report.signature_r, report.signature_s)
    try:
        key.verify(signature, report.signed_bytes, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as error:
        want = f"that of the {certificate.common_name} certificate"
        raise SignatureError("report signature", "made by another key", want, SOURCE) from error


def _is_signed(report: Report, certificate: Certificate) -> bool:
    try:
        _check_signature(report, certificate)
    except NotAuthenticError:
        return False
    return True
