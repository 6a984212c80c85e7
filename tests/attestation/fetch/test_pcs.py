"""Which answers of Intel's service are right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from attestation import needed
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    SignatureError,
    ValidityError,
)
from attestation.intel import evidence, pcs
from attestation.wanted import Answer
from tests import vectors
from tests.fakes import intel
from tests.fakes.intel import FMSPC, NOW, PLATFORM_CA, QE_IDENTITY, ROOT, TCB_INFO, Intel, revocation_list
from tests.fakes.service import pem
from tests.vectors import Case

INTEL = Intel()
ROOTS = INTEL.roots()
SIGNER = pem(INTEL.signing.der(), INTEL.root.der())
CA = pem(INTEL.ca.der(), INTEL.root.der())
DAY = timedelta(days=1)
INFO = pcs.TcbInfo("TDX", FMSPC, roots=ROOTS)
QE = pcs.QeIdentity("TDX", roots=ROOTS)
PCK_LIST = pcs.PckList("platform", ROOTS)
ROOT_LIST = pcs.RootList(roots=ROOTS)


def served(document: Mapping[str, Any], key: str = "signing", name: str = "tcbInfo") -> bytes:
    body = json.dumps(document).encode()
    return b'{"%s":%s,"signature":"%s"}' % (name.encode(), body, intel.sign(key, body).hex().encode())


def identity(document: Mapping[str, Any] = QE_IDENTITY, key: str = "signing") -> bytes:
    return served(document, key, "enclaveIdentity")


def test_urls_are_those_of_the_service() -> None:
    service = "https://api.trustedservices.intel.com"
    assert INFO.url == f"{service}/tdx/certification/v4/tcb?fmspc=90C06F000000"
    assert pcs.TcbInfo("SGX", FMSPC, early=True).url == (
        f"{service}/sgx/certification/v4/tcb?fmspc=90C06F000000&update=early"
    )
    assert pcs.QeIdentity("TDX", early=True).url == f"{service}/tdx/certification/v4/qe/identity?update=early"
    assert PCK_LIST.url == f"{service}/sgx/certification/v4/pckcrl?ca=platform&encoding=der"
    assert ROOT_LIST.url == "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"


@given(st.sampled_from(["TDX", "SGX"]), st.binary(min_size=6, max_size=6), st.booleans())
def test_every_url_names_what_it_was_made_from(tee: str, fmspc: bytes, early: bool) -> None:  # noqa: FBT001
    for one in needed.of_platform(tee, fmspc, pcs.CAS, early=early):
        assert needed.named(one.url) == one


@pytest.mark.parametrize(
    "url",
    [
        INFO.url.lower(),
        INFO.url + "&update=standard",
        INFO.url + "0",
        INFO.url.replace("v4", "v3"),
        PCK_LIST.url.replace("/sgx/", "/tdx/"),
        PCK_LIST.url.replace("platform", "cloud"),
        ROOT_LIST.url + "?",
    ],
)
def test_no_other_url_names_anything(url: str) -> None:
    with pytest.raises(EvidenceFormatError):
        needed.named(url)


def test_right_answers_are_taken() -> None:
    found = INFO.check(Answer(served(TCB_INFO), SIGNER), NOW)
    assert (len(found.endorsements.documents), found.issued.isoformat()) == (1, "2025-05-15T00:00:00+00:00")
    assert QE.check(Answer(identity(), SIGNER), NOW).endorsements.documents
    assert PCK_LIST.check(Answer(revocation_list(PLATFORM_CA, "ca"), CA), NOW).endorsements.revocation_lists
    root = revocation_list(ROOT, "root")
    for body in (root, root.hex().encode(), root.hex().upper().encode() + b"\n"):  # a PCCS writes it so
        assert ROOT_LIST.check(Answer(body, CA), NOW).endorsements.revocation_lists == (root,)


OTHER = "00806f050000"


@pytest.mark.parametrize(
    ("body", "issuers", "error"),
    [
        (served({**TCB_INFO, "fmspc": OTHER}), SIGNER, NotAuthenticError),
        (served({**TCB_INFO, "id": "SGX"}), SIGNER, NotAuthenticError),
        (served({**TCB_INFO, "version": 2}), SIGNER, EvidenceFormatError),
        (served({**TCB_INFO, "nextUpdate": "2025-05-20T00:00:00Z"}), SIGNER, ValidityError),
        (served({**TCB_INFO, "issueDate": "2025-06-02T00:00:00Z"}), SIGNER, ValidityError),
        (served(TCB_INFO, "stranger"), SIGNER, SignatureError),
        (served(TCB_INFO, "root"), SIGNER, SignatureError),
        (served(TCB_INFO), CA, MissingEndorsementError),
        (served(TCB_INFO), b"", MissingEndorsementError),
        (served(TCB_INFO), b"garbage", EvidenceFormatError),
        (served(TCB_INFO), pem(INTEL.signing.der()), MissingEndorsementError),
        (served(TCB_INFO), pem(replace(INTEL.signing, end=NOW - DAY).der(), INTEL.root.der()), ValidityError),
        (
            served(TCB_INFO, "stranger"),
            pem(replace(INTEL.signing, key="stranger", issuer_key="stranger").der(), INTEL.root.der()),
            SignatureError,
        ),
        (
            served(TCB_INFO, "stranger"),
            pem(
                replace(INTEL.signing, key="stranger", issuer_key="other root").der(),
                replace(INTEL.root, key="other root", issuer_key="other root").der(),
            ),
            NotAuthenticError,
        ),
        (identity(), SIGNER, EvidenceFormatError),
        (served(TCB_INFO)[:-1], SIGNER, EvidenceFormatError),
        (b"", SIGNER, EvidenceFormatError),
        (b"{}", SIGNER, EvidenceFormatError),
        (b"<html></html>", SIGNER, EvidenceFormatError),
        (INTEL.root.der(), SIGNER, EvidenceFormatError),
    ],
)
def test_wrong_tcb_infos_are_refused(body: bytes, issuers: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        INFO.check(Answer(body, issuers), NOW)


def test_refusal_says_what_came_and_what_was_asked() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        INFO.check(Answer(served({**TCB_INFO, "fmspc": OTHER}), SIGNER), NOW)
    assert "found one for TDX of FMSPC 00806f050000, want one for TDX of FMSPC 90c06f000000" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (identity({**QE_IDENTITY, "id": "QE"}), NotAuthenticError),
        (identity({**QE_IDENTITY, "id": "QVE"}), EvidenceFormatError),
        (identity({**QE_IDENTITY, "nextUpdate": "2025-05-20T00:00:00Z"}), ValidityError),
        (identity(key="stranger"), SignatureError),
        (served(TCB_INFO), EvidenceFormatError),
    ],
)
def test_wrong_identities_are_refused(body: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        QE.check(Answer(body, SIGNER), NOW)


PROCESSOR = replace(INTEL.ca, subject="Intel SGX PCK Processor CA")
NO_CA = replace(INTEL.ca, is_authority=False)


@pytest.mark.parametrize(
    ("body", "issuers", "error"),
    [
        (revocation_list(PLATFORM_CA, "stranger"), CA, SignatureError),
        (revocation_list(PLATFORM_CA, "root"), CA, SignatureError),
        (revocation_list(ROOT, "root"), CA, NotAuthenticError),
        (revocation_list(PROCESSOR.subject, "ca"), pem(PROCESSOR.der(), INTEL.root.der()), NotAuthenticError),
        (revocation_list(PLATFORM_CA, "ca", end=NOW - DAY), CA, ValidityError),
        (revocation_list(PLATFORM_CA, "ca", start=NOW + DAY), CA, ValidityError),
        (revocation_list(PLATFORM_CA, "ca", only="user_certs"), CA, MissingEndorsementError),
        (revocation_list(PLATFORM_CA, "ca"), pem(INTEL.ca.der()), MissingEndorsementError),
        (revocation_list(PLATFORM_CA, "ca"), pem(NO_CA.der(), INTEL.root.der()), NotAuthenticError),
        (revocation_list(PLATFORM_CA, "ca"), SIGNER, NotAuthenticError),
        (
            revocation_list(PLATFORM_CA, "ca"),
            pem(replace(INTEL.ca, end=NOW - DAY).der(), INTEL.root.der()),
            ValidityError,
        ),
        (revocation_list(PLATFORM_CA, "ca")[:-1], CA, EvidenceFormatError),
        (INTEL.ca.der(), CA, EvidenceFormatError),
        (b"", CA, EvidenceFormatError),
    ],
)
def test_wrong_lists_are_refused(body: bytes, issuers: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        PCK_LIST.check(Answer(body, issuers), NOW)


@pytest.mark.parametrize(
    ("body", "issuers", "error"),
    [
        (revocation_list(ROOT, "stranger"), CA, SignatureError),
        (revocation_list(PLATFORM_CA, "ca"), CA, NotAuthenticError),
        (revocation_list(ROOT, "root"), pem(INTEL.ca.der()), MissingEndorsementError),
        (
            revocation_list(ROOT, "other"),
            pem(replace(INTEL.root, key="other", issuer_key="other").der()),
            NotAuthenticError,
        ),
        (revocation_list(ROOT, "root").hex().encode()[:-1], CA, AuthenticationError),
    ],
)
def test_wrong_lists_of_the_root_are_refused(
    body: bytes, issuers: bytes, error: type[AuthenticationError]
) -> None:
    with pytest.raises(error):
        ROOT_LIST.check(Answer(body, issuers), NOW)


@given(st.binary(max_size=300) | st.text(max_size=60).map(str.encode), st.binary(max_size=300))
def test_only_our_errors_escape_from_anything(body: bytes, issuers: bytes) -> None:
    for wanted in (INFO, QE, PCK_LIST, ROOT_LIST):
        with pytest.raises(AuthenticationError):
            wanted.check(Answer(body, issuers), NOW)


@given(st.integers(0, len(served(TCB_INFO)) - 1), st.integers(1, 255))
def test_one_changed_byte_makes_a_document_wrong(place: int, change: int) -> None:
    good = served(TCB_INFO)
    damaged = bytearray(good)
    damaged[place] ^= change
    if bytes(damaged).lower() == good.lower():
        return  # another spelling of a hexadecimal digit of the signature
    with pytest.raises(AuthenticationError):
        INFO.check(Answer(bytes(damaged), SIGNER), NOW)


# What a quote needs


@pytest.mark.parametrize("early", [False, True])
def test_quote_names_what_it_needs(early: bool) -> None:  # noqa: FBT001
    wanted = needed.of_evidence(evidence.parse(INTEL.quote()), early=early)
    assert wanted == (
        pcs.TcbInfo("TDX", FMSPC, early),
        pcs.QeIdentity("TDX", early),
        PCK_LIST,
        ROOT_LIST,
    )


def test_quote_without_a_pck_certificate_does_not_say_enough() -> None:
    bare = replace(evidence.parse(INTEL.quote()), endorsements=intel.Endorsements())
    with pytest.raises(EvidenceFormatError, match="which says the FMSPC"):
        needed.of_evidence(bare)


def test_pck_of_an_unknown_ca_does_not_say_enough() -> None:
    strange = replace(INTEL, pck=replace(INTEL.pck, issuer="Another CA"))
    with pytest.raises(EvidenceFormatError, match="issuer of the PCK"):
        needed.of_evidence(evidence.parse(strange.quote()))


@pytest.mark.parametrize("case", vectors.cases("dcap", role="collateral"))
def test_real_collateral_is_the_right_answer_for_its_quote(case: Case) -> None:
    if not case.expected.startswith("valid"):
        pytest.skip("wrong on purpose")
    found = json.loads(case.read("collateral"))
    info, qe, crl, root = needed.of_evidence(evidence.parse(case.read("quote")))
    at = case.time
    assert at is not None

    def answer(name: str, member: str, chain: str) -> Answer:
        signature = found[f"{name}_signature"]
        body = f'{{"{member}":{found[name]},"signature":"{signature}"}}'
        return Answer(body.encode(), found[chain].encode())

    assert info.check(answer("tcb_info", "tcbInfo", "tcb_info_issuer_chain"), at)
    assert qe.check(answer("qe_identity", "enclaveIdentity", "qe_identity_issuer_chain"), at)
    above = found["pck_crl_issuer_chain"].encode()
    assert crl.check(Answer(bytes.fromhex(found["pck_crl"]), above), at)
    assert root.check(Answer(found["root_ca_crl"].encode(), above), at)
    with pytest.raises(ValidityError):
        info.check(answer("tcb_info", "tcbInfo", "tcb_info_issuer_chain"), at + 60 * DAY)
