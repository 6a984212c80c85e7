from __future__ import annotations

from datetime import timedelta

import pytest

from attestation.endorsements import Endorsements
from attestation.errors import (
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.snp import evidence
from attestation.snp.authenticate import Authenticated, authenticate
from tests.fakes import amd
from tests.fakes.amd import NOW, Amd, Chip

AMD = Amd()
CHIP = Chip()
DAY = timedelta(days=1)


def judge(*lists: bytes, chip: Chip = CHIP, now: object = NOW, required: bool = True) -> Authenticated:
    return authenticate(
        evidence.parse(chip.report()),
        Endorsements(AMD.chain(chip), lists),
        AMD.roots,
        now=now,  # type: ignore[arg-type]
        crl_required=required,
    )


def test_list_without_our_certificates_is_shown() -> None:
    proven = judge(AMD.crl([0x77, 0x78]))
    assert proven.revocation_list is not None
    assert proven.revocation_list.this_update == NOW - 31 * DAY


def test_no_list_is_an_error_only_when_one_is_required() -> None:
    assert judge(required=False).revocation_list is None
    with pytest.raises(MissingEndorsementError) as caught:
        judge()
    assert (caught.value.where, caught.value.exit_code) == ("revocation list", 14)


@pytest.mark.parametrize("serial", [0x10, 0x11], ids=["root", "intermediate"])
@pytest.mark.parametrize("required", [False, True])
def test_revoked_certificate_is_refused(serial: int, required: bool) -> None:  # noqa: FBT001
    with pytest.raises(RevokedError) as caught:
        judge(AMD.crl([5, serial]), required=required)
    assert caught.value.exit_code == 13


def test_revoked_intermediate_of_the_other_kind_says_nothing() -> None:
    assert judge(AMD.crl([0x12]))
    with pytest.raises(RevokedError):
        judge(AMD.crl([0x12]), chip=Chip(is_vlek=True))


@pytest.mark.parametrize("entry_issuer", ["", "SEV-VLEK-Milan"])
def test_revoked_signing_key_is_refused_with_and_without_its_issuer(entry_issuer: str) -> None:
    with pytest.raises(RevokedError):
        judge(AMD.crl([1], entry_issuer=entry_issuer), chip=Chip(is_vlek=True))


def test_serial_of_another_issuer_says_nothing() -> None:
    assert judge(AMD.crl([0x11], entry_issuer="SEV-Genoa"))


def test_no_list_can_name_a_single_vcek() -> None:
    proven = judge(AMD.crl_with_serial_zero())
    assert proven.chain.leaf.serial == 0


def test_list_of_a_stranger_in_our_name_is_refused() -> None:
    with pytest.raises(SignatureError):
        judge(AMD.crl(key=amd.rsa_key("stranger")))


def test_forged_list_beside_a_genuine_one_is_ignored() -> None:
    assert judge(AMD.crl([0x11], key=amd.rsa_key("stranger")), AMD.crl())


def test_list_of_another_root_is_no_list() -> None:
    with pytest.raises(MissingEndorsementError):
        judge(AMD.crl(issuer="ARK-Genoa"))


def test_old_list_still_revokes() -> None:
    old = AMD.crl([0x11], start=NOW - 60 * DAY, end=NOW - 30 * DAY)
    with pytest.raises(RevokedError):
        judge(old, AMD.crl())


def test_newest_list_decides_whether_there_is_a_current_one() -> None:
    old = AMD.crl(start=NOW - 60 * DAY, end=NOW - 30 * DAY)
    assert judge(old, AMD.crl())
    with pytest.raises(ValidityError) as caught:
        judge(old)
    assert (caught.value.where, caught.value.exit_code) == ("revocation list", 12)


def test_list_from_the_future_is_not_yet_valid() -> None:
    with pytest.raises(ValidityError):
        judge(AMD.crl(start=NOW + DAY, end=NOW + 30 * DAY))


def test_critical_extension_that_is_not_known_cannot_tell() -> None:
    with pytest.raises(MissingEndorsementError, match="critical extension"):
        judge(AMD.crl(critical={"1.2.3.4": b"\x05\x00"}))


def test_list_of_differences_alone_cannot_tell() -> None:
    delta_indicator = {"2.5.29.27": b"\x02\x01\x01"}
    with pytest.raises(MissingEndorsementError, match="critical extension"):
        judge(AMD.crl(critical=delta_indicator))


def test_root_that_may_not_sign_lists_is_refused() -> None:
    from dataclasses import replace  # noqa: PLC0415  # one use

    root = replace(AMD.ark, signs_revocations=False).der()
    certificates = (*AMD.chain(CHIP)[:2], root)
    with pytest.raises(NotAuthenticError, match="not allowed to sign lists"):
        authenticate(
            evidence.parse(CHIP.report()), Endorsements(certificates, (AMD.crl(),)), AMD.roots, now=NOW
        )


def test_revoked_and_expired_is_revoked() -> None:
    with pytest.raises(RevokedError):
        judge(AMD.crl([0x11]), now=amd.END + DAY)


@pytest.mark.parametrize("damaged", [b"", b"\x30\x00", AMD.crl()[:-1], AMD.crl() + b"\0"])
def test_list_that_cannot_be_read_is_malformed(damaged: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        judge(damaged, AMD.crl())


def test_a_list_that_is_newer_than_the_time_of_the_appraisal_hides_no_current_one() -> None:
    """An old appraisal can be repeated as of its day by what has been kept since."""
    current, later = AMD.crl(), AMD.crl(start=NOW + DAY, end=NOW + 9 * DAY)
    for lists in ((current, later), (later, current)):
        proven = judge(*lists)
        assert proven.revocation_list is not None
        assert proven.revocation_list.this_update < NOW
    with pytest.raises(ValidityError):
        judge(later)
    with pytest.raises(ValidityError):
        judge(later, AMD.crl(start=NOW - 9 * DAY, end=NOW - DAY))
    with pytest.raises(RevokedError):  # whoever says so, and whenever
        judge(current, AMD.crl([0x11], start=NOW + DAY, end=NOW + 9 * DAY))
