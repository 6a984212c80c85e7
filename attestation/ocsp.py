"""
What does an issuer say of one certificate: OCSP responses.

Signed by the issuer, or by somebody to whom the issuer left that.  Nothing is asked over a network here: who
asked keeps the answer in a file.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from attestation import der, validity
from attestation.cache import Cache
from attestation.certificate import Certificate, Signed
from attestation.errors import (
    EvidenceFormatError,
    MissingEndorsementError,
    RevokedError,
    SignatureError,
)

SOURCE = 'RFC 6960, section 3.2, "Signed Response Acceptance Requirements"'
MAXIMUM_SIZE = 1 << 16
HOLD = "certificateHold"
_MOST_CERTIFICATES = 8
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)
_STATES = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}
_HASHES = {"sha1", "sha256", "sha384", "sha512"}
_BIT_STRING = 0x03


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """
    What one response says of one certificate.

    Attributes:
        hash_name: With which the certificate's issuer is named.
        issuer_name_hash, issuer_key_hash, serial: Which certificate is meant.
        responder: The name of whoever signed, or the SHA-1 of the key.
        state: "good", "revoked" or "unknown".
        reason: Why it is revoked, by its name in RFC 5280; "unspecified" where that is not said.
        this_update: Since when this is so.
        next_update: Until when; where the response does not say it, no longer than `this_update`.
        nonce: What whoever asked gave, or None.
        certificates: Those that came with it, DER.
        signed: The signature.
        unknown_critical: Critical extensions whose meaning is not known, dotted.
    """

    hash_name: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    responder: x509.Name | bytes
    state: str
    reason: str | None
    this_update: datetime
    next_update: datetime
    nonce: bytes | None
    certificates: tuple[bytes, ...]
    signed: Signed
    unknown_critical: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and whose key signed it: the issuer's, or that of a certificate that it made for this."""

    response: StatusResponse
    responder: Certificate


def read(data: bytes) -> StatusResponse:
    """
    Return what the response in `data` says.

    Raises:
        EvidenceFormatError: not a response, or one about more or less than one certificate.
        MissingEndorsementError: the responder said that it cannot answer.

    Not checked:
        Its signature, its time, which certificate is meant.

    Source:
        RFC 6960, section 4.2.1, "ASN.1 Specification of the OCSP Response".
    """
    if len(data) > MAXIMUM_SIZE:
        raise _wrong(f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            found = response.response_status.name.lower()
            raise MissingEndorsementError("OCSP response.responseStatus", found, "successful", SOURCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # as where certificates are read
            return _status_response(response)
    except _UNREADABLE as error:
        raise _wrong(str(error)[:80] or type(error).__name__, "an OCSP response") from error


def check(
    certificate: Certificate,
    issuer: Certificate,
    responses: Iterable[bytes],
    now: datetime,
    skew: timedelta,
    cache: Cache,
) -> Answer | None:
    """
    Return the answer to go by about a certificate, for which its issuer stands, or None when there is none.

    That is the newest that was given by `now`, and of these none that has expired as long as another says the
    same and is current.  A certificate that any answer calls revoked is revoked, however old the answer; a
    hold can be lifted, so only the newest answer counts for that.

    Args:
        certificate: Which `issuer` signed.
        issuer: Whose word counts.
        responses: OCSPResponse, DER; those about other certificates are ignored.
        now: The time to judge at: who judges as of long ago may have newer ones as well.
        skew: By how much the clocks of issuer and verifier may differ.
        cache: Remembers responses, certificates and signatures.

    Raises:
        RevokedError: an answer says so, for good.
        NotAuthenticError: there are answers about the certificate, and for none the issuer stands.
        MissingEndorsementError: the one to go by does not know the certificate, a response has a critical
            extension that is not known, or is none.
        EvidenceFormatError: one of `responses` is malformed.

    Not checked:
        That the answer is current, and not on hold: see `current`, and the state.  The revocation of the
        responder's own certificate, which is short-lived.
    """
    all_of_them = [cache.fact(read, hashlib.sha256(one).digest(), one) for one in responses]
    named = [one for one in all_of_them if _is_about(one, certificate, issuer)]
    if not named:
        return None
    answers = [answer for one in named for answer in _responders(one, issuer, cache)]
    if not answers:
        want = f"that of {issuer.common_name}, or of somebody it has for that"
        raise SignatureError("OCSP response", "a signature of another key", want, SOURCE)
    for answer in answers:
        _check_final(certificate, answer.response)
    best = max(answers, key=lambda one: _rank(one.response, now, skew))
    if best.response.state == "unknown":
        raise MissingEndorsementError(f"state of {certificate.common_name}", "unknown", "good", SOURCE)
    return best


def current(answers: Iterable[Answer], now: datetime, skew: timedelta) -> None:
    """
    Check that answers, and the certificates of those who gave them, are good at `now`.

    Raises:
        ValidityError: one is not.
    """
    for one in answers:
        validity.check(one.response.this_update, one.response.next_update, now, skew, "OCSP response")
        validity.check_certificates([one.responder], now, skew)


def _rank(one: StatusResponse, now: datetime, skew: timedelta) -> tuple[bool, bool, datetime, bool]:
    """Of two that are as new the one that is not good counts; a current one takes no bad news back."""
    is_bad, is_given = one.state != "good", one.this_update - now <= skew
    return is_given, is_bad or now - one.next_update <= skew, one.this_update, is_bad


def _status_response(response: ocsp.OCSPResponse) -> StatusResponse:
    singles = list(response.responses)
    if len(singles) != 1:
        raise ValueError(f"answers about {len(singles)} certificates")
    (single,) = singles
    extensions = (*response.extensions, *response.single_extensions)
    nonces = [one.value.nonce for one in extensions if isinstance(one.value, x509.OCSPNonce)]
    critical = (one.oid for one in extensions if one.critical)
    reason = single.revocation_reason
    revoked = single.certificate_status is ocsp.OCSPCertStatus.REVOKED
    named = response.responder_name or response.responder_key_hash
    if named is None or len(response.certificates) > _MOST_CERTIFICATES:
        raise ValueError(f"{len(response.certificates)} certificates")
    return StatusResponse(
        hash_name=single.hash_algorithm.name,
        issuer_name_hash=single.issuer_name_hash,
        issuer_key_hash=single.issuer_key_hash,
        serial=single.serial_number,
        responder=named,
        state=_STATES[single.certificate_status],
        reason=("unspecified" if reason is None else reason.value) if revoked else None,
        this_update=single.this_update_utc,
        next_update=single.next_update_utc or single.this_update_utc,
        nonce=nonces[0] if nonces else None,
        certificates=tuple(one.public_bytes(serialization.Encoding.DER) for one in response.certificates),
        signed=Signed(
            response.tbs_response_bytes,
            response.signature,
            response.signature_algorithm_oid.dotted_string,
        ),
        unknown_critical=tuple(oid.dotted_string for oid in critical if oid != x509.OCSPNonce.oid),
    )


def _is_about(response: StatusResponse, certificate: Certificate, issuer: Certificate) -> bool:
    if response.hash_name not in _HASHES or response.serial != certificate.serial:
        return False
    digests = (
        hashlib.new(response.hash_name, part, usedforsecurity=False).digest()
        for part in (issuer.subject.public_bytes(), _key_bits(issuer))
    )
    return tuple(digests) == (response.issuer_name_hash, response.issuer_key_hash)


def _responders(response: StatusResponse, issuer: Certificate, cache: Cache) -> Iterator[Answer]:
    """
    Yield the answer once for each certificate that may give it and whose key did.

    Source:
        RFC 6960, section 4.2.2.2, "Authorized Responders".
    """
    for one in (issuer, *_delegates(response, issuer, cache)):
        if response.responder not in {
            one.subject,
            hashlib.sha1(_key_bits(one), usedforsecurity=False).digest(),
        }:
            continue
        try:
            cache.check_ecdsa(response.signed, one, "OCSP response")
        except SignatureError:
            continue
        yield Answer(response, one)
        return


def _delegates(response: StatusResponse, issuer: Certificate, cache: Cache) -> Iterator[Certificate]:
    for one in map(cache.certificate, response.certificates):
        unknown = set(one.unknown_critical) - {ExtensionOID.EXTENDED_KEY_USAGE.dotted_string}
        for_this = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string in one.purposes
        if one.issuer != issuer.subject or unknown or not for_this or not issuer.signs_certificates:
            continue
        try:
            cache.check_ecdsa(one.signed, issuer, one.common_name)
        except SignatureError:
            continue
        yield one


def _check_final(certificate: Certificate, response: StatusResponse) -> None:
    if response.unknown_critical:
        found = f"critical extension {', '.join(response.unknown_critical)}"
        raise MissingEndorsementError("OCSP response", found, "none that is not known", SOURCE)
    if response.state == "revoked" and response.reason != HOLD:
        found = f"revoked ({response.reason}), as of {response.this_update:%Y-%m-%d}"
        raise RevokedError(certificate.common_name, found, "good", SOURCE)


def _key_bits(certificate: Certificate) -> bytes:
    """Return the value of subjectPublicKey, without tag, length and number of unused bits."""
    encoded = certificate.public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    ((_, inside),) = der.elements(encoded, "SubjectPublicKeyInfo")
    return next(bits[1:] for tag, bits in der.elements(inside, "SubjectPublicKeyInfo") if tag == _BIT_STRING)


def _wrong(found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("OCSP response", "", found, want, "RFC 6960, section 4.2.1")
