"""
Which certificates and revocation lists come with the evidence?

Bytes are taken apart here into single DER structures, whatever they came in: PEM or DER, one or many, or
the certificate table of an extended report.  Nothing is read from them and nothing is verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from attestation import der, json_document, json_web_key
from attestation.errors import EvidenceFormatError
from attestation.intel import collateral
from attestation.intel.collateral import Collateral, SignedDocument
from attestation.snp import certificate_table

_PEM_BEGIN = b"-----BEGIN "
_PEM_DASHES = b"-----"
_LONGEST_LABEL = 64
_MOST = 512
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEXADECIMAL = re.compile(rb"(?:[0-9a-fA-F]{2})+")
_TEXT = re.compile(rb"[A-Za-z0-9+/=\s]+")
_CERTIFICATE_LABELS = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_REVOCATION_LABELS = frozenset({b"X509 CRL", b"CRL"})
_STATUS_LABEL = b"OCSP RESPONSE"
_KEY_LABEL = b"PUBLIC KEY"


@dataclass(frozen=True, slots=True)
class Endorsements:
    """
    Everything that was supplied to judge evidence by, in no particular order.

    Attributes:
        certificates: X.509 certificates, DER.
        revocation_lists: X.509 certificate revocation lists, DER.
        documents: What Intel signs about platforms and enclaves.
        keys: Public keys that stand for themselves, SubjectPublicKeyInfo.
        early: Documents of a TCB recovery that is announced, but not in force: nothing is refused by them.
        status_responses: What issuers say of single certificates, OCSPResponse, DER.
        manifests: What measurements a version leads to, XML with a signature.
    """

    certificates: tuple[bytes, ...] = ()
    revocation_lists: tuple[bytes, ...] = ()
    documents: tuple[SignedDocument, ...] = ()
    keys: tuple[bytes, ...] = ()
    early: tuple[SignedDocument, ...] = ()
    status_responses: tuple[bytes, ...] = ()
    manifests: tuple[bytes, ...] = ()

    def __or__(self, other: Endorsements) -> Endorsements:
        return Endorsements(
            tuple(dict.fromkeys(self.certificates + other.certificates)),
            tuple(dict.fromkeys(self.revocation_lists + other.revocation_lists)),
            tuple(dict.fromkeys(self.documents + other.documents)),
            tuple(dict.fromkeys(self.keys + other.keys)),
            tuple(dict.fromkeys(self.early + other.early)),
            tuple(dict.fromkeys(self.status_responses + other.status_responses)),
            tuple(dict.fromkeys(self.manifests + other.manifests)),
        )

    def as_early(self) -> Endorsements:
        """Return the same with its documents as those of a TCB recovery that is not in force."""
        return replace(self, documents=(), early=self.documents + self.early)


def union(parts: Iterable[Endorsements]) -> Endorsements:
    """Return all of them together, each structure once."""
    total = Endorsements()
    for part in parts:
        total = total | part
    return total


def parse(data: bytes, where: str = "endorsements") -> Endorsements:
    """
    Return the certificates, revocation lists, OCSP responses and keys in `data`, recognised by its structure.

    Args:
        data: PEM blocks with anything between them, DER structures one after the other, also in hexadecimal
            or base64, the certificate table of an extended report, collateral of Intel as JSON, or a manifest
            of NVIDIA as XML or as the service for them gives it.
        where: The name of the file, for errors.

    Raises:
        EvidenceFormatError: none of these, or a structure that ends beyond the data.

    Not checked:
        What the structures say; that they belong together; any signature.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if data.lstrip()[:1] == b"{":
        document = json_document.read(data, where)
        if "kty" in document:
            return Endorsements(keys=(json_web_key.read(document),))
        if "rim" in document:
            return Endorsements(manifests=(_decode(document.text("rim").encode(), where),))
        return _from_collateral(collateral.parse(document, data), where)
    if data.lstrip()[:1] == b"<":
        return Endorsements(manifests=(data,))
    if certificate_table.looks_like_one(data):  # which may have PEM in it
        return from_certificate_table(data, where)
    if _PEM_BEGIN in data:
        return _parse_pem(data, where)
    if data[:1] == bytes([der.SEQUENCE]):
        return _parse_der(data, where)
    written = from_text(data.strip())
    if written[:1] == bytes([der.SEQUENCE]):
        return _parse_der(written, where)
    raise EvidenceFormatError(
        where, "", "neither PEM nor DER nor a certificate table nor JSON nor XML", "one of these"
    )


def from_text(text: bytes) -> bytes:
    """Return what is written in hexadecimal or base64, in lines or not; nothing where it is neither."""
    if not _TEXT.fullmatch(text):
        return b""
    digits = b"".join(text.split())
    if _HEXADECIMAL.fullmatch(digits):
        return bytes.fromhex(digits.decode("ascii"))
    try:
        return base64.b64decode(digits, validate=True)
    except binascii.Error:
        return b""


def from_certificate_table(data: bytes, where: str = "certificate table") -> Endorsements:
    """
    Return what the certificate table of an extended report or of configfs-tsm's `auxblob` holds.

    Hosts put DER or PEM into it; entries of kinds that are not known are left out.

    Raises:
        EvidenceFormatError: the table or a known entry of it is malformed.
    """
    entries = certificate_table.parse(data)
    return union(
        _parse_pem(entry.data, where) if _PEM_BEGIN in entry.data else _parse_der(entry.data, where)
        for entry in entries
        if entry.kind is not None and entry.data
    )


def _from_collateral(found: Collateral, where: str) -> Endorsements:
    lists = union(_parse_der(one, where) for one in found.revocation_lists)
    return union(
        (lists, *(_parse_pem(one, where) for one in found.pem), Endorsements(documents=found.documents))
    )


def _parse_pem(data: bytes, where: str) -> Endorsements:
    found = _Found(where)
    for label, body in _pem_blocks(data, where):
        if label in _CERTIFICATE_LABELS:
            found.certificates.append(_decode(body, where))
        elif label in _REVOCATION_LABELS:
            found.revocation_lists.append(_decode(body, where))
        elif label == _STATUS_LABEL:
            found.status_responses.append(_decode(body, where))
        elif label == _KEY_LABEL:
            found.keys.append(json_web_key.checked(_decode(body, where), where))
        else:
            shown = label.decode("ascii", "replace")
            want = "CERTIFICATE, X509 CRL, OCSP RESPONSE or PUBLIC KEY"
            raise EvidenceFormatError(where, "PEM", shown, want, "RFC 7468")
    return found.limited()


def _pem_blocks(data: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield label and contents of each block; what stands between blocks is for people."""
    begin = data.find(_PEM_BEGIN)
    while begin >= 0:
        start = begin + len(_PEM_BEGIN)
        dashes = data.find(_PEM_DASHES, start, start + _LONGEST_LABEL)
        label = data[start:dashes] if dashes >= 0 else b""
        following = data.find(_PEM_BEGIN, start)
        marker = b"-----END " + label + _PEM_DASHES
        end = data.find(marker, start, following if following >= 0 else len(data))
        if dashes < 0 or end < 0:
            raise EvidenceFormatError(where, "PEM", "BEGIN without END", "both", "RFC 7468")
        yield label, data[dashes + len(_PEM_DASHES) : end]
        begin = following


@dataclass(slots=True)
class _Found:
    """What one file holds, structure by structure."""

    where: str
    certificates: list[bytes] = field(default_factory=list)
    revocation_lists: list[bytes] = field(default_factory=list)
    status_responses: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    def limited(self) -> Endorsements:
        """Return them together, unless they are so many that looking for issuers would take long."""
        count = sum(map(len, (self.certificates, self.revocation_lists, self.status_responses, self.keys)))
        if count > _MOST:
            raise EvidenceFormatError(self.where, "", f"{count} structures", f"at most {_MOST}")
        return Endorsements(
            tuple(self.certificates),
            tuple(self.revocation_lists),
            keys=tuple(self.keys),
            status_responses=tuple(self.status_responses),
        )


def _decode(body: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise EvidenceFormatError(where, "PEM", str(error), "base64", "RFC 7468") from error


def _parse_der(data: bytes, where: str) -> Endorsements:
    found = _Found(where)
    for structure in der.split(data, where):
        # An OCSPResponse begins with its status, a SubjectPublicKeyInfo with the identifier of an algorithm.
        # The first element of a TBSCertificate of version 3 is the explicit tag [0]; a TBSCertList has none.
        if der.begins_with(structure, der.ENUMERATED, where):
            found.status_responses.append(structure)
        elif (tag := der.innermost_tag(structure, where)) == der.EXPLICIT_0:
            found.certificates.append(structure)
        elif tag == der.OBJECT_IDENTIFIER:
            found.keys.append(json_web_key.checked(structure, where))
        else:
            found.revocation_lists.append(structure)
    return found.limited()
