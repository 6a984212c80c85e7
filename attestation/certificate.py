"""
What does an X.509 certificate or revocation list say?

The only code that reads X.509.  Everything a verifier needs is taken out once, so that a certificate that
cannot be read fails here, in one place and with one error.  Nothing is verified but single signatures.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl import backend as _backend  # noqa: F401  # else the first signature opens files
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID, NameOID, SignatureAlgorithmOID

from attestation.der import first_inside
from attestation.errors import EvidenceFormatError, SignatureError

# What the X.509 library raises for bytes that are no certificate, or one with parts that it cannot read.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_KNOWN_CRITICAL = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
_KNOWN_CRITICAL_IN_CRL = frozenset({ExtensionOID.ISSUING_DISTRIBUTION_POINT})
_ECDSA: Mapping[str, tuple[str, hashes.HashAlgorithm]] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string: (ec.SECP256R1.name, hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384.dotted_string: (ec.SECP384R1.name, hashes.SHA384()),
}
_RSA: Mapping[str, hashes.HashAlgorithm] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256.dotted_string: hashes.SHA256(),
    SignatureAlgorithmOID.RSA_WITH_SHA384.dotted_string: hashes.SHA384(),
    SignatureAlgorithmOID.RSA_WITH_SHA512.dotted_string: hashes.SHA512(),
}
_LEAST_RSA = 2048
_NAMES_ISSUERS = bytes.fromhex("0603551d1d")  # the identifier of CertificateIssuer, as DER has it anywhere
_PSS_SHA384 = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes, the signature over them, and the object identifier of the algorithm, dotted."""

    data: bytes
    signature: bytes
    algorithm: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    What one certificate says.

    Attributes:
        sha256: Digest of the DER bytes.
        common_name: Of the subject, or "" when it has none or several.
        key_sha256: Digest of the SubjectPublicKeyInfo: the same for every certificate of one key.
        signs_certificates, signs_revocations: CA with the key usage to do so.
        path_length: How many issuers may stand between it and a leaf, or None for any number.
        extensions: The raw values of extensions without a standard meaning, by dotted object identifier.
        purposes: The extended key usages, dotted; empty where the certificate states none.
        receives_keys: Whether its key usage lets others seal keys to it, or agree on one.
        alternative_names: Names of directories among the alternative names of the subject.
        unknown_critical: Critical extensions whose meaning is not known, dotted.
    """

    sha256: bytes
    subject: x509.Name
    issuer: x509.Name
    common_name: str
    serial: int
    not_before: datetime
    not_after: datetime
    signed: Signed
    public_key: PublicKeyTypes
    key_sha256: bytes
    signs_certificates: bool
    signs_revocations: bool
    path_length: int | None
    extensions: Mapping[str, bytes]
    purposes: frozenset[str]
    receives_keys: bool
    alternative_names: tuple[x509.Name, ...]
    unknown_critical: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What one certificate revocation list says; `revoked` are serial numbers by the name of their issuer."""

    issuer: x509.Name
    this_update: datetime
    next_update: datetime
    signed: Signed
    revoked: Mapping[x509.Name, frozenset[int]]
    unknown_critical: tuple[str, ...]

    def names(self, issuer: x509.Name, serial: int) -> bool:
        """Whether the certificate of this issuer with this serial number is on the list."""
        return serial in self.revoked.get(issuer, frozenset())


def read_certificate(der: bytes, where: str = "certificate") -> Certificate:
    """
    Return what the certificate in `der` says.

    Raises:
        EvidenceFormatError: not a certificate, or one with a key or an extension that cannot be read.

    Not checked:
        Its signature, its validity, anything about its issuer.
    """
    try:
        with warnings.catch_warnings():
            # The serial number 0, which AMD gives to VCEKs, or a country of three letters: the library warns
            # of what RFC 5280 forbids, and it decides nothing here.
            warnings.simplefilter("ignore", UserWarning)
            return _certificate(x509.load_der_x509_certificate(der), der)
    except _UNREADABLE as error:
        found, source = _first_line(error), "RFC 5280, section 4.1"
        raise EvidenceFormatError(where, "", found, "an X.509 certificate", source) from error


def read_revocation_list(der: bytes, where: str = "revocation list") -> RevocationList:
    """
    Return what the certificate revocation list in `der` says.

    Raises:
        EvidenceFormatError: not a revocation list, or one without the time of the next update.

    Not checked:
        Its signature, its validity.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return _revocation_list(x509.load_der_x509_crl(der), der, where)
    except _UNREADABLE as error:
        found, source = _first_line(error), "RFC 5280, section 5.1"
        raise EvidenceFormatError(where, "", found, "an X.509 revocation list", source) from error


def check_rsa_pss_sha384(signed: Signed, key: PublicKeyTypes, where: str) -> None:
    """
    Check that `key` made the signature: RSASSA-PSS, SHA-384, MGF1 with SHA-384, 48 bytes of salt.

    The parameters are AMD's and fixed here; those that the certificate states are not consulted.

    Raises:
        SignatureError: another algorithm, another kind of key, or another signature.
    """
    is_pss = signed.algorithm == SignatureAlgorithmOID.RSASSA_PSS.dotted_string
    if not is_pss or not isinstance(key, rsa.RSAPublicKey):
        raise SignatureError(where, f"algorithm {signed.algorithm}", "RSASSA-PSS made by an RSA key")
    try:
        key.verify(signed.signature, signed.data, _PSS_SHA384, hashes.SHA384())
    except InvalidSignature as error:
        raise SignatureError(where, "a signature of another key", "a signature of its issuer") from error


def dss_signature(raw: bytes) -> bytes:
    """Return an ECDSA signature as DER that is written as r and s, big-endian, one half each."""
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def check_ecdsa(signed: Signed, key: PublicKeyTypes, where: str) -> None:
    """
    Check that `key` made the signature: ECDSA with SHA-256 on P-256, or with SHA-384 on P-384.

    Raises:
        SignatureError: another algorithm, another kind of key, or another signature.
    """
    curve, digest = _ECDSA.get(signed.algorithm, (None, None))
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve or digest is None:
        want = "ECDSA with SHA-256 on P-256, or with SHA-384 on P-384"
        raise SignatureError(where, f"algorithm {signed.algorithm}", want)
    try:
        key.verify(signed.signature, signed.data, ec.ECDSA(digest))
    except InvalidSignature as error:
        raise SignatureError(where, "a signature of another key", "a signature of its issuer") from error


def check_signed(signed: Signed, key: PublicKeyTypes, where: str) -> None:
    """
    Check that `key` made the signature: as `check_ecdsa`, or PKCS #1 v1.5 with SHA-256, SHA-384 or SHA-512.

    Raises:
        SignatureError: another algorithm, another kind of key, a key below 2048 bits, or another signature.
    """
    digest = _RSA.get(signed.algorithm)
    if digest is None:
        check_ecdsa(signed, key, where)
        return
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_RSA:
        raise SignatureError(
            where, f"algorithm {signed.algorithm}", f"an RSA key of at least {_LEAST_RSA} bits"
        )
    try:
        key.verify(signed.signature, signed.data, padding.PKCS1v15(), digest)
    except InvalidSignature as error:
        raise SignatureError(where, "a signature of another key", "a signature of its issuer") from error


def _certificate(certificate: x509.Certificate, der: bytes) -> Certificate:
    key = certificate.public_key()
    constraints, usage = None, None
    purposes: frozenset[str] = frozenset()
    extensions: dict[str, bytes] = {}
    names: tuple[x509.Name, ...] = ()
    for extension in certificate.extensions:
        match extension.value:
            case x509.BasicConstraints():
                constraints = extension.value
            case x509.KeyUsage():
                usage = extension.value
            case x509.ExtendedKeyUsage():
                purposes = frozenset(oid.dotted_string for oid in extension.value)
            case x509.SubjectAlternativeName():
                names = tuple(extension.value.get_values_for_type(x509.DirectoryName))
            case x509.UnrecognizedExtension():
                extensions[extension.oid.dotted_string] = extension.value.value
    is_authority = constraints is not None and constraints.ca and usage is not None
    return Certificate(
        sha256=hashlib.sha256(der).digest(),
        subject=certificate.subject,
        issuer=certificate.issuer,
        common_name=common_name(certificate.subject),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        signed=Signed(
            first_inside(der, "certificate"),
            certificate.signature,
            certificate.signature_algorithm_oid.dotted_string,
        ),
        public_key=key,
        key_sha256=_key_sha256(key),
        signs_certificates=is_authority and usage is not None and usage.key_cert_sign,
        signs_revocations=is_authority and usage is not None and usage.crl_sign,
        path_length=None if constraints is None else constraints.path_length,
        extensions=extensions,
        purposes=purposes,
        receives_keys=usage is not None and (usage.key_encipherment or usage.key_agreement),
        alternative_names=names,
        unknown_critical=_unknown_critical(certificate.extensions, _KNOWN_CRITICAL),
    )


def _revocation_list(crl: x509.CertificateRevocationList, der: bytes, where: str) -> RevocationList:
    if crl.next_update_utc is None:
        raise EvidenceFormatError(where, "nextUpdate", "nothing", "a time", "RFC 5280, section 5.1.2.5")
    issuer = crl.issuer  # made anew at each call
    return RevocationList(
        issuer=issuer,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        signed=Signed(first_inside(der, where), crl.signature, crl.signature_algorithm_oid.dotted_string),
        revoked=_revoked(crl, issuer, der),
        unknown_critical=(
            *_unknown_critical(crl.extensions, _KNOWN_CRITICAL_IN_CRL),
            *(extension.oid.dotted_string for extension in crl.extensions if _covers_some(extension.value)),
        ),
    )


def _revoked(
    crl: x509.CertificateRevocationList, issuer: x509.Name, der: bytes
) -> Mapping[x509.Name, frozenset[int]]:
    # Reading the extensions of every entry takes longer than all else, and most lists name no issuers.
    if _NAMES_ISSUERS not in der:
        return {issuer: frozenset(entry.serial_number for entry in crl)}
    found: dict[x509.Name, set[int]] = {}
    for entry in crl:
        # An entry without an issuer of its own belongs to the issuer of the entry before (RFC 5280, 5.3.3).
        issuer = _entry_issuer(entry) or issuer
        found.setdefault(issuer, set()).add(entry.serial_number)
    return {name: frozenset(serials) for name, serials in found.items()}


def _covers_some(value: x509.ExtensionType) -> bool:
    """Whether a distribution point leaves out certificates or reasons: such a list settles nothing."""
    return isinstance(value, x509.IssuingDistributionPoint) and bool(
        value.only_contains_attribute_certs or value.only_contains_user_certs or value.only_some_reasons
    )


def _entry_issuer(entry: x509.RevokedCertificate) -> x509.Name | None:
    for extension in entry.extensions:
        if extension.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER and isinstance(
            extension.value, x509.CertificateIssuer
        ):
            names = extension.value.get_values_for_type(x509.DirectoryName)
            return names[0] if names else None
    return None


def _unknown_critical(
    extensions: x509.Extensions, known: frozenset[x509.ObjectIdentifier]
) -> tuple[str, ...]:
    critical = (extension.oid for extension in extensions if extension.critical)
    return tuple(oid.dotted_string for oid in critical if oid not in known)


def common_name(name: x509.Name) -> str:
    """Return the common name of a subject or issuer, "" if it has none or several."""
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _key_sha256(key: PublicKeyTypes) -> bytes:
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
