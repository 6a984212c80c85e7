"""A machine of a fake Intel: what is right is accepted, and each single thing that is wrong has its error."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    RevokedError,
    SignatureError,
    TcbError,
    ValidityError,
)
from attestation.intel import evidence
from attestation.intel.authenticate import Authenticated, authenticate
from attestation.intel.collateral import SignedDocument
from attestation.intel.tcb_info import TcbStatus
from tests.fakes import intel
from tests.fakes.intel import NOW, PLATFORM_CA, QE_IDENTITY, ROOT, TCB_INFO, Intel, Platform

BEFORE, AFTER = datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
SGX_INFO = {name: value for name, value in TCB_INFO.items() if not name.startswith("tdx")} | {"id": "SGX"}


def judge(fake: Intel, *, more: Endorsements | None = None, **options: Any) -> Authenticated:  # noqa: ANN401
    supplied = fake.endorsements() if more is None else more
    return authenticate(evidence.parse(fake.quote()), supplied, fake.roots(), **{"now": NOW, **options})


def info(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    return {**TCB_INFO, **changes}


def identity(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    return {**QE_IDENTITY, **changes}


def sgx(**changes: Any) -> Intel:  # noqa: ANN401  # fields of Intel
    fields = {
        "tee": "SGX",
        "version": 3,
        "report": intel.enclave(bytes(64)),
        "tcb_info": SGX_INFO,
        "qe_identity": identity(id="QE"),
        **changes,
    }
    return Intel(**fields)


GOOD: dict[str, Intel] = {
    "TDX 1.5, version 5": Intel(),
    "TDX 1.0, version 5": Intel(report=intel.td()[:584]),
    "TDX 1.0, version 4": Intel(version=4, report=intel.td()[:584]),
    "SGX, version 3": sgx(),
    "SGX, version 4": sgx(version=4),
    "SGX, version 5": sgx(version=5),
    "bytes behind it": Intel(trailing=b"anything"),
    "no authentication data": Intel(authentication=b""),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_quote_is_authentic(name: str) -> None:
    proven = judge(GOOD[name], crl_required=True)
    assert proven.tcb is not None
    assert proven.tcb.status is TcbStatus.UP_TO_DATE
    assert proven.tcb.evaluation == 17
    assert proven.extensions.fmspc == intel.FMSPC
    assert dict(proven.extensions.flags) == {"dynamic_platform": True, "cached_keys": True, "smt": True}
    assert [one.common_name for one in proven.chain] == [intel.PCK, PLATFORM_CA, ROOT]


BROKEN: dict[str, tuple[Intel, type[AuthenticationError], str]] = {
    "quote signed by another key": (Intel(quote_key="other"), SignatureError, "quote signature"),
    "QE report signed by another key": (Intel(qe_key="other"), SignatureError, "QE report signature"),
    "key that the QE does not vouch for": (Intel(hashed=b"other"), NotAuthenticError, "QE report.REPORTDATA"),
    "QE for debugging": (
        Intel(qe={"attributes": bytes([0x13]) + bytes(15)}),
        NotAuthenticError,
        "QE report.ATTRIBUTES",
    ),
    "PCK not signed by its CA": (
        Intel(pck=replace(Intel().pck, issuer_key="other")),
        SignatureError,
        intel.PCK,
    ),
    "CA not signed by the root": (
        Intel(ca=replace(Intel().ca, issuer_key="other")),
        SignatureError,
        PLATFORM_CA,
    ),
    "CA that is none": (
        Intel(ca=replace(Intel().ca, is_authority=False)),
        NotAuthenticError,
        PLATFORM_CA,
    ),
    "root that allows no CA below it": (
        Intel(root=replace(Intel().root, path_length=0)),
        NotAuthenticError,
        intel.ROOT,
    ),
    "CA of another name": (
        Intel(
            ca=replace(Intel().ca, subject="Some CA"),
            pck=replace(Intel().pck, issuer="Some CA"),
        ),
        NotAuthenticError,
        "issuer of the PCK",
    ),
    "root of somebody else": (
        Intel(
            root=replace(Intel().root, key="other", issuer_key="other"),
            ca=replace(Intel().ca, issuer_key="other"),
        ),
        NotAuthenticError,
        "root of the chain",
    ),
    "critical extension": (
        Intel(pck=replace(Intel().pck, critical=True)),
        NotAuthenticError,
        intel.PCK,
    ),
    "collateral signed by another key": (Intel(document_key="other"), SignatureError, "collateral TDX"),
    "collateral's key not signed by the root": (
        Intel(signing=replace(Intel().signing, issuer_key="ca")),
        SignatureError,
        intel.SIGNING,
    ),
    "revoked PCK": (
        Intel(lists=(intel.revocation_list(PLATFORM_CA, "ca", (7,)), intel.revocation_list(ROOT, "root"))),
        RevokedError,
        intel.PCK,
    ),
    "revoked CA": (
        Intel(lists=(intel.revocation_list(PLATFORM_CA, "ca"), intel.revocation_list(ROOT, "root", (7,)))),
        RevokedError,
        PLATFORM_CA,
    ),
    "revoked key of collateral": (
        Intel(lists=(intel.revocation_list(PLATFORM_CA, "ca"), intel.revocation_list(ROOT, "root", (9,)))),
        RevokedError,
        intel.SIGNING,
    ),
    "list signed by another key": (
        Intel(lists=(intel.revocation_list(PLATFORM_CA, "other"),)),
        SignatureError,
        "revocation list",
    ),
    "list that is old": (
        Intel(
            lists=(intel.revocation_list(PLATFORM_CA, "ca", end=BEFORE), intel.revocation_list(ROOT, "root"))
        ),
        ValidityError,
        f"revocation list of {PLATFORM_CA}",
    ),
    "expired PCK": (Intel(pck=replace(Intel().pck, end=BEFORE)), ValidityError, intel.PCK),
    "CA of the future": (Intel(ca=replace(Intel().ca, start=AFTER)), ValidityError, PLATFORM_CA),
    "expired key of collateral": (
        Intel(signing=replace(Intel().signing, end=BEFORE)),
        ValidityError,
        intel.SIGNING,
    ),
    "TCB info that is old": (
        Intel(tcb_info=info(nextUpdate="2025-05-31T00:00:00Z")),
        ValidityError,
        "tcbInfo",
    ),
    "TCB info of the future": (
        Intel(tcb_info=info(issueDate="2025-06-02T00:00:00Z")),
        ValidityError,
        "tcbInfo",
    ),
    "QE identity that is old": (
        Intel(qe_identity=identity(nextUpdate="2025-05-31T00:00:00Z")),
        ValidityError,
        "enclaveIdentity",
    ),
    "no TCB info": (Intel(tcb_info={}), MissingEndorsementError, "TCB info"),
    "no QE identity": (Intel(qe_identity={}), MissingEndorsementError, "QE identity"),
    "TCB info of other platforms": (
        Intel(tcb_info=info(fmspc="00" * 6)),
        MissingEndorsementError,
        "TCB info",
    ),
    "TCB info of another PCE": (Intel(tcb_info=info(pceId="0001")), MissingEndorsementError, "TCB info"),
    "TCB info for SGX": (Intel(tcb_info=SGX_INFO), MissingEndorsementError, "TCB info"),
    "identity of the other QE": (
        Intel(qe_identity=identity(id="QE")),
        MissingEndorsementError,
        "QE identity",
    ),
    "QE of another signer": (Intel(qe={"mr_signer": bytes(32)}), NotAuthenticError, "QE report.MRSIGNER"),
    "another enclave": (Intel(qe={"isv_prod_id": 3}), NotAuthenticError, "QE report.ISVPRODID"),
    "QE with another MISCSELECT": (Intel(qe={"misc_select": 1}), NotAuthenticError, "QE report.MISCSELECT"),
    "QE with other attributes": (
        Intel(qe={"attributes": bytes([0x31]) + bytes(15)}),
        NotAuthenticError,
        "QE report.ATTRIBUTES",
    ),
    "QE too old": (Intel(qe={"isv_svn": 1}), TcbError, "TD_QE ISVSVN"),
    "platform too old": (Intel(platform=Platform(components=(3,) * 15 + (1,))), TcbError, "platform TCB"),
    "PCE too old": (Intel(platform=Platform(pce_svn=10)), TcbError, "platform TCB"),
    "TEE TCB too old": (
        Intel(tcb_info=info(tcbLevels=[intel.level("UpToDate", 3, tdx=(0, 0, 1, *(0,) * 13))])),
        TcbError,
        "platform TCB",
    ),
    "no levels": (Intel(tcb_info=info(tcbLevels=[])), TcbError, "platform TCB"),
    "module too old": (
        Intel(report=intel.td(tee_tcb_svn=bytes([1, 1]) + bytes(14))),
        TcbError,
        "TDX_01 ISVSVN",
    ),
    "module that nobody knows": (
        Intel(report=intel.td(tee_tcb_svn=bytes([9, 2]) + bytes(14))),
        TcbError,
        "TDX module",
    ),
    "module of another signer": (
        Intel(report=intel.td(mr_signer_seam=b"\1" * 48)),
        NotAuthenticError,
        "report.MRSIGNERSEAM",
    ),
    "module with other attributes": (
        Intel(report=intel.td(seam_attributes=b"\1" + bytes(7))),
        NotAuthenticError,
        "report.SEAMATTRIBUTES",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    fake, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(fake)
    assert type(caught.value) is error
    assert caught.value.where == where


@pytest.mark.parametrize("field", [1, 2, 3, 4, 5])
def test_a_pck_certificate_without_a_part_is_malformed(field: int) -> None:
    with pytest.raises(EvidenceFormatError):
        judge(Intel(platform=Platform(without=field)))


def test_parts_that_not_every_pck_certificate_has() -> None:
    assert judge(Intel(platform=Platform(without=6))).extensions.platform_instance_id is None
    assert not judge(Intel(platform=Platform(without=7))).extensions.flags


def test_without_collateral_the_chain_alone_is_proven() -> None:
    proven = judge(Intel(), more=Endorsements())
    assert (proven.tcb, proven.collateral, proven.revocation_lists) == (None, None, ())


@pytest.mark.parametrize("kept", [(), (0,), (1,)])
def test_lists_that_are_required(kept: tuple[int, ...]) -> None:
    fake = Intel(lists=tuple(Intel().lists[place] for place in kept))
    assert len(judge(fake).revocation_lists) == len(kept)
    with pytest.raises(MissingEndorsementError):
        judge(fake, crl_required=True)


def test_revocation_comes_before_validity() -> None:
    old = intel.revocation_list(PLATFORM_CA, "ca", (7,), end=BEFORE)
    with pytest.raises(RevokedError):
        judge(Intel(lists=(old,)), now=AFTER)


def test_clocks_may_differ_as_far_as_is_said() -> None:
    late = datetime(2025, 6, 14, 0, 1, tzinfo=UTC)
    with pytest.raises(ValidityError):
        judge(Intel(), now=late)
    assert judge(Intel(), now=late, skew=timedelta(minutes=2)).tcb


def test_the_current_document_of_the_newest_recovery_counts() -> None:
    fake = Intel()
    others = [
        info(tcbEvaluationDataNumber=19, nextUpdate="2025-05-31T00:00:00Z"),
        info(tcbEvaluationDataNumber=16),
        info(fmspc="00" * 6, tcbEvaluationDataNumber=20),
    ]
    more = Endorsements(documents=tuple(one for info_ in others for one in Intel(tcb_info=info_).documents()))
    proven = judge(fake, more=more | fake.endorsements())
    assert proven.collateral is not None
    assert proven.collateral.info.evaluation == 18


STATUSES: dict[str, tuple[Intel, str, list[str]]] = {
    "platform": (Intel(platform=Platform(components=(2,) * 16)), "OutOfDate", ["INTEL-SA-2"]),
    "module": (
        Intel(report=intel.td(tee_tcb_svn=bytes([3, 1]) + bytes(14), tee_tcb_svn2=bytes([3, 1]) + bytes(14))),
        "OutOfDate",
        ["INTEL-SA-1"],
    ),
    "module in small letters": (
        Intel(
            report=intel.td(tee_tcb_svn=bytes([2, 3]) + bytes(14)),
            tcb_info=info(tdxModuleIdentities=[intel.module("tdx_03", intel.enclave_level("OutOfDate", 1))]),
        ),
        "OutOfDate",
        [],
    ),
    "QE": (Intel(qe={"isv_svn": 3}), "OutOfDate", ["INTEL-SA-4"]),
    "all three": (
        Intel(
            report=intel.td(tee_tcb_svn=bytes([3, 1]) + bytes(14)),
            platform=Platform(components=(2,) * 16),
            qe={"isv_svn": 3},
        ),
        "OutOfDate",
        ["INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-4"],
    ),
    "hardening": (
        Intel(tcb_info=info(tcbLevels=[intel.level("SWHardeningNeeded", 1)])),
        "SWHardeningNeeded",
        [],
    ),
    "hardening under an old QE": (
        Intel(tcb_info=info(tcbLevels=[intel.level("SWHardeningNeeded", 1)]), qe={"isv_svn": 3}),
        "OutOfDate",
        ["INTEL-SA-4"],
    ),
    "configuration under an old QE": (
        Intel(tcb_info=info(tcbLevels=[intel.level("ConfigurationNeeded", 1)]), qe={"isv_svn": 3}),
        "OutOfDateConfigurationNeeded",
        ["INTEL-SA-4"],
    ),
    "both under an old QE": (
        Intel(
            tcb_info=info(tcbLevels=[intel.level("ConfigurationAndSWHardeningNeeded", 1)]), qe={"isv_svn": 3}
        ),
        "OutOfDateConfigurationNeeded",
        ["INTEL-SA-4"],
    ),
    "revoked platform": (Intel(tcb_info=info(tcbLevels=[intel.level("Revoked", 1)])), "Revoked", []),
    "revoked QE": (
        Intel(qe_identity=identity(tcbLevels=[intel.enclave_level("Revoked", 1)])),
        "Revoked",
        [],
    ),
    "module of TDX 1.0 has no level of its own": (
        Intel(report=intel.td(tee_tcb_svn=bytes([0, 0]) + bytes(14))),
        "UpToDate",
        [],
    ),
}


@pytest.mark.parametrize("name", STATUSES)
def test_the_status_of_all_together(name: str) -> None:
    fake, status, advisories = STATUSES[name]
    tcb = judge(fake).tcb
    assert tcb is not None
    assert (tcb.status.value, list(tcb.advisories)) == (status, advisories)


@pytest.mark.parametrize(("now", "advised"), [(3, False), (7, True)])
def test_a_platform_that_was_updated_since_the_launch(now: int, advised: bool) -> None:  # noqa: FBT001
    svn, svn2 = bytes([3, 1]) + bytes(14), bytes([now, 1]) + bytes(14)
    tcb = judge(Intel(report=intel.td(tee_tcb_svn=svn, tee_tcb_svn2=svn2))).tcb
    assert tcb is not None
    assert (tcb.status, tcb.relaunch_advised) == (TcbStatus.OUT_OF_DATE, advised)


def test_the_first_two_svns_count_for_the_module_alone() -> None:
    level = intel.level("UpToDate", 3, tdx=(9, 9, *(0,) * 14))
    assert judge(Intel(tcb_info=info(tcbLevels=[level]))).tcb
    old = Intel(report=intel.td(tee_tcb_svn=bytes(16)), tcb_info=info(tcbLevels=[level]))
    with pytest.raises(TcbError):
        judge(old)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_quote_without_its_chain_needs_it_from_elsewhere(kind: int, version: int) -> None:
    fake = Intel(certification=kind, version=version, report=intel.td()[:584])
    pck, ca, _ = fake.certificates()
    with pytest.raises(MissingEndorsementError):
        judge(fake)
    more = Endorsements((ca,) if kind == 4 else (pck, ca))
    assert judge(fake, more=fake.endorsements() | more).tcb is not None
    other = replace(fake, pck=replace(fake.pck, key="other"))
    wrong = Endorsements((other.certificates()[0], ca))
    with pytest.raises(SignatureError):
        judge(replace(fake, certification=3), more=fake.endorsements() | wrong)


@pytest.mark.parametrize("kind", [0, 6, 7, 0xFFFF])
def test_certification_data_of_a_kind_that_is_none(kind: int) -> None:
    with pytest.raises(EvidenceFormatError, match="certification data type"):
        judge(Intel(certification=kind))


MALFORMED: dict[str, tuple[str, Any]] = {
    "another version": ("version", 2),
    "a version in words": ("version", "3"),
    "true is no number": ("version", True),
    "no time": ("issueDate", "yesterday"),
    "a time without its zone": ("nextUpdate", "2025-06-14T00:00:00"),
    "too short": ("pceId", "00"),
    "no digits": ("pceId", "zz" * 2),
    "a negative number": ("tcbEvaluationDataNumber", -1),
    "a broken number": ("tcbEvaluationDataNumber", 1.5),
    "another type": ("tcbType", 1),
    "levels that are none": ("tcbLevels", {}),
    "a level that is none": ("tcbLevels", [1]),
    "a level without components": ("tcbLevels", [{"tcb": {}}]),
    "15 components": (
        "tcbLevels",
        [
            {
                **intel.level("UpToDate", 1),
                "tcb": {**intel.level("UpToDate", 1)["tcb"], "sgxtcbcomponents": []},
            }
        ],
    ),
    "another status": ("tcbLevels", [intel.level("Fine", 1)]),
    "no module": ("tdxModule", None),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_collateral_that_says_something_else(name: str) -> None:
    member, value = MALFORMED[name]
    with pytest.raises(EvidenceFormatError):
        judge(Intel(tcb_info=info(**{member: value})))


@pytest.mark.parametrize("text", [b"{", b'{"id":"TDX","id":"SGX"}', b'{"id":NaN}', b"[" * 100_000, b"\xff"])
def test_text_that_is_no_document(text: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(b'{"tcbInfo":' + text + b',"signature":"' + b"00" * 64 + b'"}')


def test_documents_as_the_service_sends_them() -> None:
    documents = Intel().documents()
    parts = []
    for name, document in zip(("tcbInfo", "enclaveIdentity"), documents, strict=True):
        text = b'{ "other": {"tcbInfo": 1}, "%s" : %s,\n "signature":"%s"}'
        parts.append(
            endorsements.parse(text % (name.encode(), document.body, document.signature.hex().encode()))
        )
    assert endorsements.union(parts).documents == documents


def test_documents_all_together() -> None:
    (tcb, identity_), (list_of_ca, list_of_root) = Intel().documents(), Intel().lists
    whole = {
        "tcb_info": tcb.body.decode(),
        "tcb_info_signature": tcb.signature.hex(),
        "qe_identity": identity_.body.decode(),
        "qe_identity_signature": identity_.signature.hex(),
        "pck_crl": list_of_ca.hex(),
        "root_ca_crl": list_of_root.hex(),
    }
    parsed = endorsements.parse(json.dumps(whole).encode())
    assert parsed.documents == (tcb, identity_)
    assert set(parsed.revocation_lists) == {list_of_ca, list_of_root}


FIELDS = {
    "version 6": (0, 6, "version"),
    "version 2": (0, 2, "version"),
    "P-384": (2, 3, "attestation key type"),
    "another TEE": (4, 0x82, "TEE type"),
    "another vendor": (12, 0, "QE vendor"),
    "a body of SGX": (48, 1, "body type"),
    "a body of TDX 1.0 with the size of 1.5": (48, 2, "body type"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_quote_of_another_format(name: str) -> None:
    place, value, field = FIELDS[name]
    quote = bytearray(Intel().quote())
    quote[place] = value
    with pytest.raises(EvidenceFormatError) as caught:
        evidence.parse(bytes(quote))
    assert (caught.value.field, caught.value.offset) == (field, place)


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(bytes((1 << 20) + 1))


@pytest.mark.parametrize("qe", [{"mr_signer": b"\xbb" * 32}, {"isv_prod_id": 1}], ids=["signer", "product"])
def test_an_enclave_of_somebody_else_is_no_quoting_enclave(qe: dict[str, Any]) -> None:
    """A platform's key certifies any enclave that asks for it, so without collateral it has to be Intel's."""
    for fake in (Intel(qe=qe), sgx(qe=qe)):
        with pytest.raises(NotAuthenticError) as caught:
            judge(fake, more=Endorsements(revocation_lists=fake.lists))
        assert caught.value.where == "QE report"


@pytest.mark.parametrize(
    "status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDateConfigurationNeeded"]
)
@pytest.mark.parametrize("whose", ["module", "QE"])
def test_a_status_that_no_enclave_has(status: str, whose: str) -> None:
    level = intel.enclave_level(status, 1)
    fake = (
        Intel(tcb_info=info(tdxModuleIdentities=[intel.module("TDX_01", level)]))
        if whose == "module"
        else Intel(qe_identity=identity(tcbLevels=[level]))
    )
    with pytest.raises(TcbError):
        judge(fake)


@pytest.mark.parametrize("kind", ["attribute_certs", "user_certs"])
def test_a_list_that_leaves_certificates_out_settles_nothing(kind: str) -> None:
    lists = [
        intel.revocation_list(PLATFORM_CA, "ca", only=kind),
        intel.revocation_list(ROOT, "root", only=kind),
    ]
    with pytest.raises(MissingEndorsementError):
        judge(Intel(lists=tuple(lists)), crl_required=True)


OTHERS = {
    "of another kind": b'{"id":"QVE","version":2}',
    "of another platform": json.dumps({**TCB_INFO, "fmspc": "00" * 6}).encode(),
    "of an older version, for another platform": b'{"id":"TDX","version":2,"fmspc":"000000000000"}',
    "for the other kind of TEE": json.dumps(SGX_INFO).encode(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_documents_about_something_else_do_no_harm(name: str) -> None:
    other = Endorsements(documents=(SignedDocument(OTHERS[name], bytes(64)),))
    assert judge(Intel(), more=other | Intel().endorsements()).tcb


def test_another_key_that_may_sign_collateral_does_no_harm() -> None:
    fake = Intel()
    for other in (
        replace(fake.signing, key="rotated", end=fake.signing.end.replace(year=2031)),
        replace(fake.signing, key="foreign", issuer_key="foreign", end=fake.signing.end.replace(year=2032)),
    ):
        assert judge(fake, more=Endorsements((other.der(),)) | fake.endorsements()).tcb


# Signed once: each signature is another.
DOCUMENTS, LIST, SIGNING = Intel().documents(), Intel().lists[0], Intel().signing.der()


def whole(**changes: str) -> bytes:
    tcb, identity_ = DOCUMENTS
    members = {
        "tcb_info": tcb.body.decode(),
        "tcb_info_signature": tcb.signature.hex(),
        "qe_identity": identity_.body.decode(),
        "qe_identity_signature": identity_.signature.hex(),
        "pck_crl": LIST.hex(),
    }
    return json.dumps({**members, **changes}).encode()


PEM_TEXT = "-----BEGIN CERTIFICATE-----\n" + base64.b64encode(SIGNING).decode() + "\n-----END CERTIFICATE-----\n"  # fmt: skip
SPELLINGS = {
    "base64": whole(pck_crl=base64.b64encode(LIST).decode()),
    "a byte order mark": b"\xef\xbb\xbf" + whole(),
    "a string of C": whole(tcb_info=DOCUMENTS[0].body.decode() + "\0"),
    "URL-encoded": whole(tcb_info_issuer_chain=quote(PEM_TEXT)),
    "a line before it": whole(tcb_info_issuer_chain="\n" + PEM_TEXT),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_collateral_as_others_write_it(name: str) -> None:
    parsed = endorsements.parse(SPELLINGS[name])
    assert [one.body for one in parsed.documents] == [one.body for one in DOCUMENTS]
    assert parsed.revocation_lists == (LIST,)
    if "chain" in SPELLINGS[name].decode("utf-8-sig"):
        assert parsed.certificates == (SIGNING,)


def test_lists_in_files_of_their_own() -> None:
    one = LIST
    for data in (one, one.hex().encode() + b"\n", base64.encodebytes(one)):
        assert endorsements.parse(data).revocation_lists == (one,)


@pytest.mark.parametrize(
    "changes",
    [
        {"tcb_info": "\ud800"},
        {"pck_crl": "-----BEGIN\ud800"},
        {"pck_crl": "zz"},
        {"tcb_info_issuer_chain": "none"},
    ],
)
def test_collateral_with_parts_that_are_none(changes: dict[str, str]) -> None:
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(whole(**changes))


COSTLY = {
    "PEM that never ends": b"-----BEGIN A-----" * (1 << 15),
    "labels without an end": b"-----BEGIN " * (1 << 16),
    "empty structures": b"\x30\0" * (1 << 18),
    "structures and no more": b"\x30\0" * (1 << 17) + b"\x31",
    "certificates without end": (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n") * 513,
}


@pytest.mark.parametrize("name", COSTLY)
def test_endorsements_that_cost_much_elsewhere(name: str) -> None:
    start = time.thread_time()
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(COSTLY[name])
    assert time.thread_time() - start < 2
