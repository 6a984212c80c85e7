"""
What does a reference integrity manifest of NVIDIA say, and which certificate's key signed it?

A manifest holds the measurements that one version of a driver or of a device's firmware leads to.  It is an
XML document from somebody else: size and document type are looked at first, nothing is fetched, and only what
the signature covers is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm

from attestation.errors import EvidenceFormatError, MissingEndorsementError, SignatureError

SOURCE = "TCG Reference Integrity Manifest Information Model, version 1.01; ISO/IEC 19770-2:2015"
SIGNATURE_SOURCE = "XML Signature Syntax and Processing, version 1.1"
MAXIMUM_SIZE = 1 << 18
_SWID = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
_SHA384 = "{http://www.w3.org/2001/04/xmlenc#sha384}"
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_CERTIFICATES = f"{_DSIG}Signature/{_DSIG}KeyInfo/{_DSIG}X509Data/{_DSIG}X509Certificate"
_DIGEST = re.compile(r"[0-9a-fA-F]{96}")
_MOST_CERTIFICATES, _MOST_ALTERNATIVES, _HIGHEST_INDEX = 8, 64, 253
# What the library raises besides its own errors where parts of a signature are missing or not as it expects.
_WHAT_IT_RAISES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    UnsupportedAlgorithm,
    ValueError,
)
_DIGITS = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    What a manifest says whose signature was checked.

    Attributes:
        version: Of the driver or of the firmware.
        product: For which devices.
        golden: Accepted digests by the index of the measurement, from 1 as in SPDM; those that are active.
        sha256: Digest of the bytes as they were given.
    """

    version: str
    product: str
    golden: Mapping[int, frozenset[bytes]]
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest as it was given: its tree, and the certificates that came with it, DER."""

    document: Any
    certificates: tuple[bytes, ...]
    sha256: bytes


def read(data: bytes) -> Signed:
    """
    Return the document in `data`, which says nothing before `verify`.

    Raises:
        EvidenceFormatError: too large, no XML, with a document type, or without certificates.
        MissingEndorsementError: the libraries for it are not installed.
    """
    if len(data) > MAXIMUM_SIZE:
        raise _wrong("", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    etree, _ = _libraries()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.LxmlError, ValueError) as error:
        raise _wrong("", str(error)[:80], "XML") from error
    if root.getroottree().docinfo.doctype:
        raise _wrong("DOCTYPE", "one", "none")
    texts = [one.text or "" for one in root.findall(_CERTIFICATES)]
    if not 1 <= len(texts) <= _MOST_CERTIFICATES:
        raise _wrong("KeyInfo", f"{len(texts)} certificates", f"1 to {_MOST_CERTIFICATES}")
    try:
        certificates = tuple(base64.b64decode("".join(one.split()), validate=True) for one in texts)
    except (binascii.Error, ValueError) as error:
        raise _wrong("X509Certificate", str(error)[:80], "base64") from error
    return Signed(root, certificates, hashlib.sha256(data).digest())


def verify(signed: Signed, certificate: bytes, at: datetime) -> Manifest:
    """
    Return what the key of a certificate signed, and nothing else of the document.

    Args:
        signed: From `read`.
        certificate: DER.
        at: A time at which the certificate is good; whether it is now is not the question here.

    Raises:
        SignatureError: the key did not sign the whole document with ECDSA and SHA-384.
        EvidenceFormatError: it signed something other than a manifest.

    Not checked:
        Whose certificate it is.

    Source:
        XML Signature Syntax and Processing, version 1.1, section 3.2, "Core Validation".  TCG Reference
        Integrity Manifest Information Model, version 1.01.
    """
    etree, signxml = _libraries()
    configuration = signxml.SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({signxml.SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA384}),
        verification_time=at,
    )
    pem = (
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(certificate).decode()}-----END CERTIFICATE-----\n"
    )
    try:
        found = signxml.XMLVerifier().verify(signed.document, x509_cert=pem, expect_config=configuration)
    except (signxml.exceptions.SignXMLException, etree.LxmlError, *_WHAT_IT_RAISES) as error:
        shown = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise SignatureError("manifest's signature", shown, "one over all of it", SIGNATURE_SOURCE) from error
    if found.signed_xml is None or found.signed_xml.tag != f"{_SWID}SoftwareIdentity":
        raise _wrong("", "something else that is signed", "a SoftwareIdentity")
    return _manifest(found.signed_xml, signed.sha256)


def _manifest(root: Any, sha256: bytes) -> Manifest:  # noqa: ANN401  # an element, of a library without types
    (meta,) = _only(root, "Meta")
    (payload,) = _only(root, "Payload")
    golden: dict[int, frozenset[bytes]] = {}
    seen: set[int] = set()
    for one in payload.findall(f"{_SWID}Resource[@type='Measurement']"):
        index = _number(one, "index", _HIGHEST_INDEX)
        if index in seen:
            raise _wrong("Resource.index", f"{index} twice", "each once")
        seen.add(index)
        values = _digests(one)
        if _is_active(one):
            golden[index + 1] = values
    if not golden:
        raise _wrong("Payload", "no active measurement", "some")
    version, product = meta.get("colloquialVersion", ""), meta.get("product", "")
    if not version:
        raise _wrong("Meta.colloquialVersion", "none", "a version")
    return Manifest(version, product, golden, sha256)


def _only(root: Any, name: str) -> Sequence[Any]:  # noqa: ANN401
    found: Sequence[Any] = root.findall(f"{_SWID}{name}")
    if len(found) != 1:
        raise _wrong(name, f"{len(found)}", "one")
    return found


def _digests(element: Any) -> frozenset[bytes]:  # noqa: ANN401
    count = _number(element, "alternatives", _MOST_ALTERNATIVES)
    texts = [element.get(f"{_SHA384}Hash{number}", "") for number in range(count)]
    if not texts or not all(_DIGEST.fullmatch(text) for text in texts) or element.get("size") != "48":
        raise _wrong(f"Resource {element.get('index')}", f"{count} alternatives", "digests of 48 bytes")
    return frozenset(map(bytes.fromhex, texts))


def _is_active(element: Any) -> bool:  # noqa: ANN401
    value = element.get("active", "")
    if value not in {"True", "False"}:
        raise _wrong("Resource.active", repr(value)[:60], "True or False")
    return bool(value == "True")


def _number(element: Any, name: str, most: int) -> int:  # noqa: ANN401
    text = element.get(name, "")
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise _wrong(f"Resource.{name}", repr(text)[:60], f"a number of 0 to {most}")
    return int(text)


def _libraries() -> tuple[Any, Any]:
    """Only manifests need them, so they are an extra."""
    try:
        import signxml  # noqa: PLC0415
        import signxml.exceptions  # noqa: PLC0415
        from lxml import etree  # noqa: PLC0415
    except ImportError as error:
        want = "lxml and signxml: pip install 'tee-shim[nvidia]'"
        raise MissingEndorsementError("manifest", f"no {error.name}", want) from error
    return etree, signxml


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("manifest", field, found, want, SOURCE)
