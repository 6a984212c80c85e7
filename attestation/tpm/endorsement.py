"""
Which TPM is it, and who says so?

The maker of a TPM certifies its endorsement key.  That key only decrypts, so there is nothing signed to show:
that an attestation key is in the same TPM takes a credential (`attestation.tpm.credential`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from attestation import bits, path_building
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.endorsements import Endorsements
from attestation.errors import NotAuthenticError
from attestation.tpm.public_area import ATTRIBUTES, SOURCE as KEY_SOURCE, PublicArea

SOURCE = "TCG EK Credential Profile for TPM Family 2.0, version 2.4, section 3"
# What a key has to be so that what is sealed to it opens in this TPM and nowhere else.
_REQUIRED = {
    "fixed_tpm": True,
    "fixed_parent": True,
    "sensitive_data_origin": True,
    "restricted": True,
    "decrypt": True,
    "sign": False,
}
_RSA_SIZES = (2048, 3072, 4096)
_EK = "2.23.133.8.1"  # tcg-kp-EKCertificate
# Section 3.1.2: tcg-at-tpmManufacturer, tcg-at-tpmModel, tcg-at-tpmVersion.
_NAMES = {"2.23.133.2.1": "manufacturer", "2.23.133.2.2": "model", "2.23.133.2.3": "version"}
_KNOWN = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
        ExtensionOID.EXTENDED_KEY_USAGE.dotted_string,
    }
)
# swtpm's own certificate authority writes this; a maker of chips has no reason to.
SOFTWARE_MODELS = frozenset({"swtpm"})


@dataclass(frozen=True, slots=True)
class Said:
    """
    What was said of an endorsement key.

    Attributes:
        key: Its public area.
        certificate: DER.
    """

    key: PublicArea
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Endorsement:
    """
    An endorsement key that a chain of certificates vouches for.

    Attributes:
        key: Its public area.
        chain: From its certificate to a root that nobody has said to trust yet.
        manufacturer, model, version: Of the TPM, in its maker's words.
    """

    key: PublicArea
    chain: tuple[Certificate, ...]
    manufacturer: str
    model: str
    version: str


def authenticate(said: Said, endorsements: Endorsements, now: datetime, cache: Cache) -> Endorsement:
    """
    Return an endorsement key with the certificates that lead from it to a root.

    Args:
        said: What the guest says of it.
        endorsements: The certificates above.
        now: The time to judge at, where there are several ways to a root.
        cache: Remembers what certificates say between calls.

    Raises:
        EvidenceFormatError: a certificate cannot be read.
        MissingEndorsementError: an issuer is missing.
        NotAuthenticError: the key is not the certificate's, or none for credentials, or the certificate was
            made for something else, or a link of the chain does not hold.

    Not checked:
        That the root is trusted; validity and revocation: `attestation.tpm.authenticate` does both.

    Source:
        TCG EK Credential Profile for TPM Family 2.0, version 2.4, section 3.1, "EK Certificate"; RFC 5280,
        section 6.1, "Basic Path Validation".
    """
    leaf = cache.certificate(said.certificate)
    leaf = replace(leaf, common_name=leaf.common_name or "endorsement certificate")  # it often has no subject
    _check_key(said.key, leaf)
    _check_purpose(leaf)
    names = _names(leaf)
    supplied = path_building.best_first([cache.certificate(one) for one in endorsements.certificates], now)
    chain = path_building.chain([leaf], supplied, cache.check_signed, SOURCE, now=now, known=_KNOWN)
    return Endorsement(said.key, chain, names["manufacturer"], names["model"], names["version"])


def _check_key(key: PublicArea, leaf: Certificate) -> None:
    encoded = key.key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashlib.sha256(encoded).digest()
    if digest != leaf.key_sha256:
        want = f"sha256:{leaf.key_sha256.hex()}, as certified"
        raise NotAuthenticError("endorsement key", f"sha256:{digest.hex()}", want, SOURCE)
    if isinstance(key.key, rsa.RSAPublicKey) and key.key.key_size not in _RSA_SIZES:
        found = f"RSA of {key.key.key_size} bits"
        raise NotAuthenticError("endorsement key", found, "2048, 3072 or 4096 bits", SOURCE)
    flags = bits.flags(key.attributes, ATTRIBUTES)
    wrong = [name for name, wanted in _REQUIRED.items() if flags[name] is not wanted]
    if wrong:
        shown = ", ".join(name if flags[name] else f"not {name}" for name in wrong)
        want = ", ".join(name if wanted else f"not {name}" for name, wanted in _REQUIRED.items())
        raise NotAuthenticError("endorsement key", shown, want, KEY_SOURCE)


def _check_purpose(leaf: Certificate) -> None:
    """
    Check that the certificate was made for an endorsement key: a maker's roots vouch for other things too.

    Source:
        TCG EK Credential Profile for TPM Family 2.0, version 2.4, section 3.1: key usage is keyEncipherment
        or keyAgreement, extended key usage has tcg-kp-EKCertificate, no authority.
    """
    if leaf.signs_certificates or _EK not in leaf.purposes or not leaf.receives_keys:
        shown = ["an authority"] if leaf.signs_certificates else sorted(leaf.purposes) or ["no purpose"]
        shown += [] if leaf.receives_keys else ["no keys are to be sealed to it"]
        want = f"an endorsement key's: {_EK}, with keyEncipherment or keyAgreement"
        raise NotAuthenticError("endorsement certificate", ", ".join(shown), want, SOURCE)


def _names(leaf: Certificate) -> Mapping[str, str]:
    """Return what the maker calls the TPM, each once: a directory name among the alternative names."""
    found: dict[str, str] = {}
    for name in leaf.alternative_names:
        for attribute in name:
            key = _NAMES.get(attribute.oid.dotted_string)
            if key is None:
                continue
            if key in found:
                raise NotAuthenticError("endorsement certificate", f"two names for its {key}", "one", SOURCE)
            found[key] = str(attribute.value)
    missing = sorted({*_NAMES.values()} - set(found))
    if missing:
        shown = f"no {', '.join(missing)}"
        raise NotAuthenticError("endorsement certificate", shown, "manufacturer, model and version", SOURCE)
    return found
