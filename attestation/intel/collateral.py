"""
What does Intel sign about its platforms and enclaves: TCB info and enclave identities.

Both are JSON under a signature over their exact bytes.  They come one by one, as the provisioning
certification service answers, or all together with certificates and lists, as verifiers pass them around.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject

SOURCE = "Intel SGX and TDX Provisioning Certification Service, API version 4"
_NAMES = ("tcbInfo", "enclaveIdentity")
_TOGETHER = (("tcb_info", "tcb_info_signature"), ("qe_identity", "qe_identity_signature"))
_CHAINS = (
    "pck_crl_issuer_chain",
    "tcb_info_issuer_chain",
    "qe_identity_issuer_chain",
    "pck_certificate_chain",
)
_LISTS = ("root_ca_crl", "pck_crl")
_PEM = "-----BEGIN"
_SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """The exact bytes of a JSON value, and r and s of the signature over them, big-endian."""

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Collateral:
    """
    What a file of collateral holds.

    Attributes:
        documents: TCB infos and enclave identities.
        pem: Certificates and lists as PEM text.
        revocation_lists: Lists as DER.
    """

    documents: tuple[SignedDocument, ...]
    pem: tuple[bytes, ...] = ()
    revocation_lists: tuple[bytes, ...] = ()


def parse(whole: JsonObject, data: bytes) -> Collateral:
    """
    Return what is in an object: a response of the service, or everything for one platform.

    `data` is its text, which has the exact bytes that were signed.

    Raises:
        EvidenceFormatError: neither.

    Not checked:
        What the documents say; any signature.

    Source:
        Intel SGX and TDX Provisioning Certification Service, API version 4, "Get TCB Info", "Get Quoting
        Enclave Identity".  The names of the members together: `sgx_ql_qve_collateral_t`, Intel SGX DCAP Quote
        Verification Library.
    """
    for name in _NAMES:
        if name in whole:
            body = _exact(data.decode("utf-8"), name)
            return Collateral((SignedDocument(body, whole.octets("signature", _SIGNATURE_SIZE)),))
    documents = tuple(
        SignedDocument(whole.text(name).rstrip("\0").encode(), whole.octets(signature, _SIGNATURE_SIZE))
        for name, signature in _TOGETHER
        if name in whole
    )
    if not documents:
        want = "tcbInfo, enclaveIdentity, tcb_info or qe_identity"
        raise EvidenceFormatError(whole.where, "", _shown(whole.members), want, SOURCE)
    pem = tuple(_chain(whole, name) for name in _CHAINS if whole.members.get(name) is not None)
    lists = [(name, whole.text(name).strip()) for name in _LISTS if whole.members.get(name) is not None]
    return Collateral(
        documents,
        (*pem, *(text.encode() for _, text in lists if text.startswith(_PEM))),
        tuple(_list(whole, name, text) for name, text in lists if not text.startswith(_PEM)),
    )


def _chain(whole: JsonObject, name: str) -> bytes:
    """Return PEM text, which the service sends in a header, URL-encoded."""
    text = whole.text(name)
    found = unquote(text) if "%" in text else text
    if _PEM not in found:
        raise whole.wrong(name, text, "certificates as PEM text")
    return found.encode()


def _list(whole: JsonObject, name: str, text: str) -> bytes:
    """Return DER that is written in hexadecimal or base64."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise whole.wrong(name, text, "a list as PEM, hexadecimal or base64") from error


def _exact(text: str, name: str) -> bytes:
    """Return the bytes of the value of a top-level member as they stand."""
    at = 1 + text.index("{")
    decoder = json.JSONDecoder()
    while True:
        key, at = decoder.raw_decode(text, _skip(text, at))
        begin = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, begin)
        if key == name:
            return text[begin:at].encode()
        at = _skip(text, at) + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


_SPACE = re.compile(r"[ \t\r\n]*")


def _shown(members: Mapping[str, object]) -> str:
    return ", ".join(sorted(members)[:5]) or "nothing"
