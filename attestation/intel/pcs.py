"""
What does Intel's certification service (PCS) serve, under which names, and which answer is right?

Names and checks only: nothing here asks anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from attestation import endorsements, json_document, revocation
from attestation.cache import Cache
from attestation.certificate import Certificate, read_certificate, read_revocation_list
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.intel import applicable, chain, tcb_info
from attestation.intel.roots import INTEL
from attestation.intel.tcb_info import EnclaveIdentity, TcbInfo as Info
from attestation.path import Roots
from attestation.wanted import LARGEST_DOCUMENT, LARGEST_LIST, Answer, Checked, check_period, sole

SOURCE = "Intel SGX and TDX Provisioning Certification Service, API version 4"
SERVICE = "https://api.trustedservices.intel.com"
ROOT_LIST = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
CAS = ("platform", "processor")
_API = "certification/v4"
_QE_NAMES = {"TDX": "TD_QE", "SGX": "QE"}
_URL = re.compile(
    re.escape(SERVICE) + r"/(sgx|tdx)/certification/v4/(?:tcb\?fmspc=([0-9A-F]{12})(&update=early)?"
    r"|(qe/identity)(\?update=early)?|pckcrl\?ca=(platform|processor)&encoding=der)"
)
Document = TypeVar("Document", Info, EnclaveIdentity)


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """
    What Intel says of a family of platforms.

    Attributes:
        tee: "TDX" or "SGX".
        fmspc: The family, 6 bytes.
        early: Of the two that Intel serves, the one that takes a TCB recovery into account at once.
    """

    tee: str
    fmspc: bytes
    early: bool = False
    roots: Roots = field(default=INTEL, compare=False, repr=False)

    limit = LARGEST_DOCUMENT
    lasting = False
    issuer_headers = ("tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain")
    issuers = None

    @property
    def url(self) -> str:
        """Where Intel serves it."""
        update = "&update=early" if self.early else ""
        return f"{SERVICE}/{self.tee.lower()}/{_API}/tcb?fmspc={self.fmspc.hex().upper()}{update}"

    @property
    def title(self) -> str:
        """What it is."""
        return f"{'early ' * self.early}TCB info for {self.tee} of FMSPC {self.fmspc.hex()}"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the document with the chain of its signer; see `Wanted.check`."""
        document, supplied = _document(answer, self.title, Info, self.roots, at)
        if (document.id, document.fmspc) != (self.tee, self.fmspc):
            found = f"one for {document.id} of FMSPC {document.fmspc.hex()}"
            want = f"one for {self.tee} of FMSPC {self.fmspc.hex()}"
            raise NotAuthenticError("tcbInfo", found, want, SOURCE)
        return Checked(supplied, document.issued)


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """What Intel says of its quoting enclave for "TDX" or "SGX"."""

    tee: str
    early: bool = False
    roots: Roots = field(default=INTEL, compare=False, repr=False)

    limit = LARGEST_DOCUMENT
    lasting = False
    issuer_headers = ("sgx-enclave-identity-issuer-chain",)
    issuers = None

    @property
    def url(self) -> str:
        """Where Intel serves it."""
        update = "?update=early" if self.early else ""
        return f"{SERVICE}/{self.tee.lower()}/{_API}/qe/identity{update}"

    @property
    def title(self) -> str:
        """What it is."""
        return f"{'early ' * self.early}identity of the quoting enclave for {self.tee}"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the document with the chain of its signer; see `Wanted.check`."""
        document, supplied = _document(answer, self.title, EnclaveIdentity, self.roots, at)
        if document.id != _QE_NAMES[self.tee]:
            raise NotAuthenticError("enclaveIdentity.id", document.id, _QE_NAMES[self.tee], SOURCE)
        return Checked(supplied, document.issued)


@dataclass(frozen=True, slots=True)
class PckList:
    """The list of PCK certificates that a CA took back: "platform" or "processor"."""

    ca: str
    roots: Roots = field(default=INTEL, compare=False, repr=False)

    limit = LARGEST_LIST
    lasting = False
    issuer_headers = ("sgx-pck-crl-issuer-chain",)
    issuers = None

    @property
    def url(self) -> str:
        """Where Intel serves it."""
        return f"{SERVICE}/sgx/{_API}/pckcrl?ca={self.ca}&encoding=der"

    @property
    def title(self) -> str:
        """What it is."""
        return f"revocation list of the PCK {self.ca.capitalize()} CA"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the list with the chain of its issuer; see `Wanted.check`."""
        above = _issuers(answer)
        name = f"Intel SGX PCK {self.ca.capitalize()} CA"
        named = [one for one in above if one.common_name == name]
        if not named:
            names = ", ".join(one.common_name for one in above) or "no certificate"
            raise NotAuthenticError("issuer of the list", names, name, chain.SOURCE)
        chain.intermediate_root(named[0], above, self.roots, at)
        return _list(answer, self.title, named[0], above, at)


@dataclass(frozen=True, slots=True)
class RootList:
    """
    The list of what Intel's root CA took back: CAs, and keys that sign collateral.

    Attributes:
        via: The CA whose list brings the certificate of the root.
    """

    via: str = field(default=CAS[0], compare=False)
    roots: Roots = field(default=INTEL, compare=False, repr=False)

    limit = LARGEST_LIST
    lasting = False
    issuer_headers = ()
    url = ROOT_LIST
    title = "revocation list of the Intel SGX Root CA"

    @property
    def issuers(self) -> PckList:
        """What brings the certificate of the root."""
        return PckList(self.via, self.roots)

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the list with its issuer; see `Wanted.check`."""
        above = _issuers(answer)
        root = chain.pinned_root(above, self.roots, at)
        return _list(answer, self.title, root, above, at)


def _issuers(answer: Answer) -> list[Certificate]:
    found = endorsements.parse(answer.issuers, "issuer chain").certificates if answer.issuers else ()
    return [read_certificate(one) for one in found]


def _document(
    answer: Answer, title: str, kind: type[Document], roots: Roots, at: datetime
) -> tuple[Document, Endorsements]:
    """Return what a document says that a key signed which may sign collateral, with everything supplied."""
    found = endorsements.parse(answer.body, title)
    if len(found.documents) != 1 or found.certificates or found.revocation_lists:
        raise EvidenceFormatError(title, "", f"{len(found.documents)} documents", "one, alone", SOURCE)
    document = tcb_info.read(json_document.read(found.documents[0].body, title))
    if not isinstance(document, kind):
        raise EvidenceFormatError(title, "", f"a document for {document.id}", "another kind", SOURCE)
    above = _issuers(answer)
    signers = chain.signing_chains(above, roots, Cache(), at)
    signer = applicable.check_signed(found.documents[0], document.id, signers, Cache())
    _check_certificates(signer, at)
    check_period(document.issued, document.next_update, at, title)
    return document, found | endorsements.parse(answer.issuers, "issuer chain")


def _list(
    answer: Answer, title: str, issuer: Certificate, above: Sequence[Certificate], at: datetime
) -> Checked:
    found = endorsements.parse(answer.body, title)
    one = read_revocation_list(sole(found.revocation_lists, title, "one list"))
    if one.issuer != issuer.subject:
        name, want = one.issuer.rfc4514_string(), issuer.subject.rfc4514_string()
        raise NotAuthenticError("revocation list.issuer", name, want, chain.SOURCE)
    revocation.check_authority(issuer)
    Cache().check_ecdsa(one.signed, issuer, f"revocation list of {issuer.common_name}")
    revocation.check_readable(one)
    _check_certificates(above, at)
    check_period(one.this_update, one.next_update, at, title)
    return Checked(found | endorsements.parse(answer.issuers, "issuer chain"), one.this_update)


def _check_certificates(certificates: Sequence[Certificate], at: datetime) -> None:
    for one in certificates:
        check_period(one.not_before, one.not_after, at, one.common_name)


def named(url: str) -> TcbInfo | QeIdentity | PckList | RootList | None:
    """Return what a URL of the service names, None where it is no such URL as is made here."""
    if url == ROOT_LIST:
        return RootList()
    match = _URL.fullmatch(url)
    if match is None:
        return None
    tee, fmspc, early, identity, early_identity, ca = match.groups()
    if fmspc is not None:
        return TcbInfo(tee.upper(), bytes.fromhex(fmspc), early is not None)
    if identity is not None:
        return QeIdentity(tee.upper(), early_identity is not None)
    return PckList(ca) if tee == "sgx" else None
