"""
Did a genuine device of NVIDIA say this?

Whether we like what it says is the question of `appraise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import der, path, path_building, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, dss_signature
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.nvidia import manifests, revocation
from attestation.nvidia.evidence import SOURCE, Evidence
from attestation.nvidia.manifests import Manifests
from attestation.nvidia.revocation import State
from attestation.nvidia.roots import NvidiaRoots
from attestation.ocsp import SOURCE as OCSP_SOURCE
from attestation.trail import SILENT, Trail

_FWID = 20
_FWID_SIZE = 48
# Hopper's devices and switches end with their one FWID, as X.509 of the first drafts of DICE did; Blackwell's
# have the structure of the published ones.
_COMPOSITE_ID, _TCB_INFO = "2.23.133.5.4.1", "2.23.133.5.4.1.1"
_FWIDS = 0xA6  # [6] of DiceTcbInfo
_DICE = 'TCG DICE Attestation Architecture, version 1.1, section 6.1.1, "TCB Info"'


@dataclass(frozen=True, slots=True)
class Authenticated:
    """
    Measurements that a genuine device signed.

    Attributes:
        evidence: What it said.
        chain: From the certificate of the key that signed it to the root.
        states: What is said of each certificate of the chain below the root; none is revoked for good.
        manifests: Of the driver and the firmware that it says it has, as far as they were supplied.
    """

    evidence: Evidence
    chain: tuple[Certificate, ...]
    states: tuple[State, ...]
    manifests: Manifests


def authenticate(  # noqa: PLR0913  # what evidence is judged by, each apart
    evidence: Evidence,
    endorsements: Endorsements,
    roots: NvidiaRoots,
    *,
    now: datetime,
    skew: timedelta = timedelta(0),
    crl_required: bool = False,
    cache: Cache | None = None,
    trail: Trail = SILENT,
) -> Authenticated:
    """
    Return the measurements, proven to be signed by a device that one of `roots` vouches for.

    Args:
        evidence: From `attestation.nvidia.evidence.parse`.
        endorsements: The device's certificates, OCSP responses, revocation lists, and manifests.
        roots: The only keys that may stand at the top.
        now: The time to judge at, with its time zone.
        skew: By how much clocks may differ.
        crl_required: Refuse when nothing is said of a certificate that NVIDIA made: of all but the root and
            a device's last one, which the device makes itself.
        cache: Remembers what certificates say between calls.
        trail: Gets a line for each check that held.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError, ValidityError, MissingEndorsementError.

    Not checked:
        Everything that a policy is for, also whether certificates on hold are accepted.

    Source:
        DMTF DSP0274, version 1.1.3, section 10.11.  RFC 5280, section 6.1, "Basic Path Validation".
        NVIDIA/nvtrust, guest_tools, for the certificates of which there is a state.
    """
    cache = cache if cache is not None else Cache()
    certificates = path_building.best_first(
        [cache.certificate(one) for one in endorsements.certificates], now
    )
    found = path_building.chain(
        _signers(evidence, certificates),
        certificates,
        cache.check_ecdsa,
        SOURCE,
        now=now,
        accept=lambda chain: path.check_pinned(chain, roots.keys, roots.name, SOURCE),
    )
    leaf = found[0]
    trail.chain(found, roots.name, SOURCE)
    trail.signature("measurements' signature", leaf, SOURCE)
    _check_firmware(evidence, leaf)
    trail.held("FWID", "that of the firmware that answered", f"that of the {leaf.common_name}", SOURCE)

    states = revocation.of_chain(found, endorsements, now, skew, cache)
    known = manifests.find(evidence, endorsements, roots.manifests, now, skew, cache)
    validity.check_certificates(found, now, skew)
    trail.validity(found, now, validity.SOURCE)
    revocation.current(states, now, skew)
    if crl_required:
        revocation.check_known(states[1:])
    for state in states[1:]:
        said = "held" if state.held else "good" if state.known else "nothing supplied"
        trail.said(f"state of {state.certificate.common_name}", said, OCSP_SOURCE, checked=state.known)
    manifests.current(known, now, skew, required=crl_required)
    return Authenticated(evidence, found, states, known)


def _signers(evidence: Evidence, certificates: Sequence[Certificate]) -> list[Certificate]:
    """Return the certificates of the key that signed the measurements; they issue none."""
    devices = [one for one in certificates if not one.signs_certificates]
    if not devices:
        raise MissingEndorsementError("certificate of the device", "none", "one", SOURCE)
    signature = dss_signature(evidence.signature)
    for one in devices:
        key = one.public_key
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            continue
        try:
            key.verify(signature, evidence.signed_bytes, ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            continue
        return [device for device in devices if device.key_sha256 == one.key_sha256]
    want = f"that of {devices[0].common_name}"
    raise SignatureError("measurements' signature", "made by another key", want, SOURCE)


def _check_firmware(evidence: Evidence, leaf: Certificate) -> None:
    """Check that the key was made for the firmware that answers."""
    fwid = evidence.opaque.get(_FWID)
    if fwid is None:
        return
    stated = _firmware_of(leaf)
    if len(fwid) != _FWID_SIZE or stated != fwid:
        found = "nothing" if stated is None else stated.hex()
        raise NotAuthenticError(f"{leaf.common_name}.FWID", found, f"{fwid.hex()} as measured", _DICE)


def _firmware_of(leaf: Certificate) -> bytes | None:
    """
    Return the digest of the firmware that a key was made for; of several the first, which is its own layer's.

    Source:
        TCG DICE Attestation Architecture, version 1.1, section 6.1.1, "TCB Info": `fwids`.
    """
    composite, info = leaf.extensions.get(_COMPOSITE_ID), leaf.extensions.get(_TCB_INFO)
    if composite is not None or info is None:
        return None if composite is None else composite[-_FWID_SIZE:]
    where = f"{leaf.common_name}.TcbInfo"
    whole = [inside for tag, inside in der.elements(info, where) if tag == der.SEQUENCE]
    lists = [inside for part in whole for tag, inside in der.elements(part, where) if tag == _FWIDS]
    first = next((inside for part in lists for _, inside in der.elements(part, where)), b"")
    return next((digest for tag, digest in der.elements(first, where) if tag == der.OCTET_STRING), None)
