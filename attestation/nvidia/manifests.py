"""
Which manifests are about the driver and the firmware that a device says it has, and did NVIDIA sign them?

Drivers' and firmware's manifests look alike: the version that the device states, under its signature, tells
them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from attestation import path, path_building, validity
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.nvidia import revocation, rim
from attestation.nvidia.evidence import DRIVER, Evidence
from attestation.nvidia.revocation import State
from attestation.nvidia.rim import SOURCE, Manifest


@dataclass(frozen=True, slots=True)
class Proven:
    """
    A manifest that NVIDIA signed.

    Attributes:
        manifest: What it says.
        chain: From the certificate of the key that signed it to the root.
        states: What is said of each certificate of the chain below the root; none is revoked for good.
    """

    manifest: Manifest
    chain: tuple[Certificate, ...]
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Manifests:
    """Those of the driver and of the firmware; None where none was supplied."""

    driver: Proven | None
    vbios: Proven | None

    @property
    def given(self) -> tuple[Proven, ...]:
        """Those that there are."""
        return tuple(one for one in (self.driver, self.vbios) if one is not None)


def find(
    evidence: Evidence,
    endorsements: Endorsements,
    keys: frozenset[str],
    now: datetime,
    skew: timedelta,
    cache: Cache,
) -> Manifests:
    """
    Return the manifests that are about what a device has, with what is said of their certificates.

    Manifests of other versions are ignored, once their signatures and roots are good.

    Raises:
        EvidenceFormatError, NotAuthenticError, RevokedError: one of the manifests.
        MissingEndorsementError: an issuer is missing, there are several of one version, or the libraries are
            not installed.

    Not checked:
        Validity: see `current`.  The measurements: `appraise` compares them.
    """
    found = [_signed_by_nvidia(one, endorsements, keys, now, cache) for one in endorsements.manifests]
    driver = _of_version("driver", evidence.text(DRIVER), found)
    vbios = _of_version("VBIOS", evidence.vbios_version, found)
    return Manifests(
        *(
            one and Proven(*one, revocation.of_chain(one[1], endorsements, now, skew, cache))
            for one in (driver, vbios)
        )
    )


def current(manifests: Manifests, now: datetime, skew: timedelta, *, required: bool) -> None:
    """
    Check that the certificates of manifests, and what is said of them, are good at `now`.

    Raises:
        ValidityError: something is not.
        MissingEndorsementError: nothing is said of a certificate, and that is required.
    """
    for one in manifests.given:
        validity.check_certificates(one.chain, now, skew)
        revocation.current(one.states, now, skew)
        if required:
            revocation.check_known(one.states)


def _signed_by_nvidia(
    data: bytes, endorsements: Endorsements, keys: frozenset[str], now: datetime, cache: Cache
) -> tuple[Manifest, tuple[Certificate, ...]]:
    signed = rim.read(data)
    signers = [one for one in signed.certificates if not cache.certificate(one).signs_certificates]
    if not signers:
        raise NotAuthenticError("manifest's certificates", "none of a signer", "one", SOURCE)
    manifest, signer = _first_that_signed(signed, signers, cache)
    supplied = [cache.certificate(one) for one in (*signed.certificates, *endorsements.certificates)]
    found = path_building.chain(
        [signer],
        path_building.best_first(supplied, now),
        cache.check_ecdsa,
        SOURCE,
        now=now,
        accept=lambda chain: path.check_pinned(chain, keys, "NVIDIA", SOURCE),
    )
    return manifest, found


def _first_that_signed(
    signed: rim.Signed, signers: Sequence[bytes], cache: Cache
) -> tuple[Manifest, Certificate]:
    for one in signers[:-1]:
        certificate = cache.certificate(one)
        try:
            return rim.verify(signed, one, certificate.not_before), certificate
        except SignatureError:
            continue
    certificate = cache.certificate(signers[-1])
    return rim.verify(signed, signers[-1], certificate.not_before), certificate


def _of_version(
    whose: str, version: str | None, found: Sequence[tuple[Manifest, tuple[Certificate, ...]]]
) -> tuple[Manifest, tuple[Certificate, ...]] | None:
    """Return the one for a version; versions of firmware are written in either case."""
    fitting = [one for one in found if version is not None and one[0].version.lower() == version.lower()]
    if len(fitting) > 1:
        want = "one: which belongs to the board cannot be told"
        raise MissingEndorsementError(f"{whose} manifest of {version}", f"{len(fitting)}", want, SOURCE)
    return fitting[0] if fitting else None
