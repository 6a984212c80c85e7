"""
Which of the collateral that was supplied is about this platform, and who signed it?

Folders hold collateral of many platforms: what is about others, or of a kind that is not asked for, is not
looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

from cryptography.x509.oid import SignatureAlgorithmOID

from attestation import json_document
from attestation.cache import Cache
from attestation.certificate import Certificate, Signed, dss_signature
from attestation.errors import MissingEndorsementError, SignatureError
from attestation.intel import chain
from attestation.intel.collateral import SOURCE, SignedDocument
from attestation.intel.endorsements import PckExtensions
from attestation.intel.evidence import Evidence
from attestation.intel.tcb_info import EnclaveIdentity, TcbInfo, read
from attestation.json_document import JsonObject
from attestation.path import Roots

Signer: TypeAlias = tuple[Certificate, Certificate]
Document = TypeVar("Document", TcbInfo, EnclaveIdentity)
_QE_NAMES = {"TDX": "TD_QE", "SGX": "QE"}
_ECDSA_SHA256 = SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string


@dataclass(frozen=True, slots=True)
class Collateral:
    """The signed documents that tell how old a platform is, and the chains of the keys that signed them."""

    info: TcbInfo
    identity: EnclaveIdentity
    chains: tuple[Signer, ...]


def find(  # noqa: PLR0913, PLR0917  # what collateral is chosen by
    evidence: Evidence,
    extensions: PckExtensions,
    documents: Sequence[SignedDocument],
    certificates: Sequence[Certificate],
    roots: Roots,
    cache: Cache,
    now: datetime,
    others: Sequence[SignedDocument] = (),
) -> Collateral | None:
    """
    Return what to judge a platform by, None where there are no documents at all.

    Of the `others` only identities of quoting enclaves count.

    Raises:
        EvidenceFormatError: a document that is about this platform cannot be read.
        SignatureError: none of the keys that may sign collateral signed it.
        MissingEndorsementError: there is none about this platform, or no certificate of such a key.
        NotAuthenticError: no chain of such a key is right.

    Not checked:
        Validity and revocation.
    """
    if not documents:
        return None
    read_ones = [
        (one, cache.fact(_read, hashlib.sha256(one.body).digest(), one.body)) for one in (*documents, *others)
    ]
    about = [
        (one, document)
        for place, (one, document) in enumerate(read_ones)
        if _is_about(document, evidence, extensions)
        and (place < len(documents) or document.members.get("id") == _QE_NAMES[evidence.tee])
    ]
    signers = chain.signing_chains(certificates, roots, cache, now) if about else []
    signed = [_signed(one, document, signers, cache) for one, document in about]
    infos = [
        (one, signer)
        for one, signer in signed
        if isinstance(one, TcbInfo) and (one.fmspc, one.pce_id) == (extensions.fmspc, extensions.pce_id)
    ]
    if not infos:
        want = f"one for {evidence.tee} with FMSPC {extensions.fmspc.hex()}, PCE-ID {extensions.pce_id.hex()}"
        raise MissingEndorsementError("TCB info", "none", want, SOURCE)
    identities = [(one, signer) for one, signer in signed if isinstance(one, EnclaveIdentity)]
    if not identities:
        raise MissingEndorsementError("QE identity", "none", _QE_NAMES[evidence.tee], SOURCE)
    info, info_signer = _current(infos, now)
    identity, identity_signer = _current(identities, now)
    chains = (info_signer,) if info_signer is identity_signer else (info_signer, identity_signer)
    return Collateral(info, identity, chains)


def _read(body: bytes) -> JsonObject:
    return json_document.read(body, "collateral")


def _is_about(document: JsonObject, evidence: Evidence, extensions: PckExtensions) -> bool:
    """Whether a document says of itself that it is about this platform, or its kind of quoting enclave."""
    members = document.members
    if members.get("id") == evidence.tee:
        return str(members.get("fmspc")).lower() == extensions.fmspc.hex()
    return members.get("id") == _QE_NAMES[evidence.tee]


def _signed(
    one: SignedDocument, found: JsonObject, signers: Sequence[Signer], cache: Cache
) -> tuple[TcbInfo | EnclaveIdentity, Signer]:
    """Return what a document says, with the chain of the key that signed it."""
    document = cache.fact(read, hashlib.sha256(one.body).digest(), found)
    return document, check_signed(one, document.id, signers, cache)


def check_signed(one: SignedDocument, identifier: str, signers: Sequence[Signer], cache: Cache) -> Signer:
    """
    Return the chain of the key that signed a document.

    Args:
        one: The document.
        identifier: What it calls itself, for the message.
        signers: The chains of keys that may sign collateral, at least one.
        cache: Remembers signatures.

    Raises:
        SignatureError: none of them did.
    """
    signed = Signed(one.body, dss_signature(one.signature), _ECDSA_SHA256)
    for signer in signers[:-1]:
        with contextlib.suppress(SignatureError):
            cache.check_ecdsa(signed, signer[0], f"collateral {identifier}")
            return signer
    cache.check_ecdsa(signed, signers[-1][0], f"collateral {identifier}")
    return signers[-1]


def _current(documents: Sequence[tuple[Document, Signer]], now: datetime) -> tuple[Document, Signer]:
    """Return the one to judge by: valid at `now`, of the newest TCB recovery, issued last."""

    def rank(pair: tuple[Document, Signer]) -> tuple[bool, int, datetime]:
        one = pair[0]
        return one.issued <= now <= one.next_update, one.evaluation, one.issued

    return max(documents, key=rank)
