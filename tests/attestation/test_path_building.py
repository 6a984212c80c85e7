"""Keys are certified more than once: of several ways up the right one is found, and no wrong one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from attestation.cache import Cache
from attestation.certificate import Certificate, check_ecdsa, check_rsa_pss_sha384, read_certificate
from attestation.endorsements import Endorsements
from attestation.errors import MissingEndorsementError, NotAuthenticError, SignatureError
from attestation.files import read_endorsements
from attestation.intel import evidence as quotes
from attestation.intel.authenticate import authenticate as authenticate_quote
from attestation.nvidia import evidence as answers
from attestation.nvidia.authenticate import authenticate as authenticate_answer
from attestation.path_building import SELF_SIGNED, best_first, chain
from attestation.snp import evidence as reports
from attestation.snp.authenticate import authenticate as authenticate_report
from tests import vectors
from tests.fakes import amd, aws, intel, nvidia
from tests.fakes.aws import MADE, NOW, certificate, key
from tests.fakes.intel import Intel

LEAF = certificate("leaf", "cross")
CROSSED = certificate("cross", "root", end=NOW + timedelta(hours=1))
ALONE = certificate("cross", "cross", end=NOW + timedelta(hours=2))
ROOT = certificate("root", "root")
NOBODY = certificate("root", "root", signer="other")


def build(*encoded: bytes, pinned: str = "root") -> list[str]:
    """Return the names in the chain of the first, of which the last has to be the certificate of `pinned`."""

    def accept(found: Sequence[Certificate]) -> None:
        if found[-1].public_key != key(pinned).public_key():
            raise NotAuthenticError("root", found[-1].common_name, pinned)

    certificates = [read_certificate(one) for one in encoded]
    found = chain(
        certificates[:1],
        best_first(certificates, NOW),
        Cache().check_ecdsa,
        "a test",
        now=NOW,
        accept=accept,
    )
    return [one.common_name for one in found]


def test_a_root_that_signed_another_root_is_found() -> None:
    assert build(LEAF, CROSSED, ALONE, ROOT) == ["leaf", "cross", "root"]
    assert build(LEAF, CROSSED, ALONE, ROOT, pinned="cross") == ["leaf", "cross"]


def test_the_reason_of_the_first_way_is_given() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        build(LEAF, CROSSED, ALONE, ROOT, pinned="leaf")
    assert (caught.value.where, caught.value.found) == ("root", "cross")


def test_a_way_without_an_end_is_none() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        build(LEAF, CROSSED, ALONE)
    assert caught.value.found == "cross"
    with pytest.raises(MissingEndorsementError):
        build(LEAF, CROSSED)


def test_a_root_that_nobody_signed_does_not_stand_in_the_way() -> None:
    newer = certificate("root", "root", signer="other", end=NOW + timedelta(hours=2))
    assert build(LEAF, newer, CROSSED, ROOT) == ["leaf", "cross", "root"]
    with pytest.raises(SignatureError):
        build(LEAF, CROSSED, newer)


def test_an_issuer_that_nobody_signed_does_not_stand_in_the_way() -> None:
    """It has the key that signed the leaf, and is newer: only its own signature is wrong."""
    forged = certificate("cross", "root", signer="other", end=NOW + timedelta(hours=2))
    assert build(LEAF, forged, CROSSED, ROOT) == ["leaf", "cross", "root"]
    with pytest.raises(SignatureError) as caught:
        build(LEAF, forged, ROOT)
    assert caught.value.where == "cross"


def test_an_issuer_that_may_not_sign_does_not_stand_in_the_way() -> None:
    forbidden = certificate("cross", "root", signs_certificates=False, end=NOW + timedelta(hours=2))
    assert build(LEAF, forbidden, CROSSED, ROOT) == ["leaf", "cross", "root"]
    with pytest.raises(NotAuthenticError) as caught:
        build(LEAF, forbidden, ROOT)
    assert caught.value.found == "may not sign certificates"


def test_lengths_decide_between_ways() -> None:
    narrow = certificate("root", "root", path_length=0, end=NOW + timedelta(hours=3))
    assert build(LEAF, CROSSED, narrow, ROOT) == ["leaf", "cross", "root"]
    with pytest.raises(NotAuthenticError) as caught:
        build(LEAF, CROSSED, narrow)
    assert caught.value.want == "at most 0"


def test_who_changes_keys_signs_the_new_with_the_old() -> None:
    """A new root in the name of the old one, signed by the old one: both are called "root"."""
    names = {"subject": aws.name("root"), "issuer": aws.name("root")}
    successor = replace(read_certificate(certificate("new", "root")), **names)
    leaf = replace(read_certificate(certificate("leaf", "new")), issuer=aws.name("root"))
    certificates = [leaf, successor, read_certificate(ROOT)]
    found = chain([leaf], certificates, Cache().check_ecdsa, "a test", now=NOW)
    assert [one.public_key for one in found] == [key(one).public_key() for one in ("leaf", "new", "root")]
    with pytest.raises(SignatureError):
        chain([leaf], [leaf, successor], Cache().check_ecdsa, "a test", now=NOW)


def test_a_way_that_is_good_now_is_taken_before_one_that_was() -> None:
    gone = certificate("old", "old", start=MADE - timedelta(days=1))
    by_gone = certificate("cross", "old", end=NOW + timedelta(days=9))
    certificates = [read_certificate(one) for one in (LEAF, by_gone, CROSSED, gone, ROOT)]
    check = Cache().check_ecdsa
    found = chain(certificates[:1], certificates, check, "a test", now=NOW)
    assert found[-1].common_name == "root"
    only_gone = [read_certificate(one) for one in (LEAF, by_gone, gone)]
    assert chain(only_gone[:1], only_gone, check, "a test", now=NOW)[-1].common_name == "old"


def test_certificates_that_issue_each_other_lead_nowhere() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        build(certificate("leaf", "one"), certificate("one", "two"), certificate("two", "one"))
    assert caught.value.found == "more than 8 certificates"


def test_there_is_an_end_to_trying() -> None:
    """Two names with 16 certificates each, in a circle: 16 to the eighth ways."""
    circle = [
        certificate(name, other, serial=number + 1)
        for name, other in (("one", "two"), ("two", "one"))
        for number in range(16)
    ]
    with pytest.raises(NotAuthenticError) as caught:
        build(certificate("leaf", "one"), *circle)
    assert (caught.value.where, caught.value.found) == ("chain", "more than 1024 ways to a root")


ROOT_FILES = sorted((vectors.ROOT / "roots").glob("*/*"))


@pytest.mark.skipif(not ROOT_FILES, reason=vectors.ABSENT)
def test_the_roots_that_are_known_to_sign_themselves_do() -> None:
    supplied = read_endorsements(ROOT_FILES).certificates
    known = [one for one in map(read_certificate, supplied) if one.sha256 in SELF_SIGNED]
    assert {one.sha256 for one in known} == SELF_SIGNED
    for one in known:
        assert one.subject == one.issuer
        check = check_ecdsa if one.common_name.startswith("Intel") else check_rsa_pss_sha384
        check(one.signed, one.public_key, one.common_name)
        with pytest.raises(SignatureError):
            check(replace(one.signed, data=one.signed.data + b"\0"), one.public_key, one.common_name)


def judge_report(*more: bytes) -> str:
    chip, vendor = amd.Chip(), amd.Amd()
    supplied = Endorsements((*more, *vendor.chain(chip)))
    proven = authenticate_report(reports.parse(chip.report()), supplied, vendor.roots, now=amd.NOW)
    return proven.chain.leaf.common_name


VENDOR = amd.Amd()
LATE = amd.END + timedelta(days=1)


@pytest.mark.parametrize(
    "forged",
    [
        replace(VENDOR.ark, end=LATE, issuer_key=amd.rsa_key("other")).der(),
        replace(VENDOR.ask, end=LATE, issuer_key=amd.rsa_key("other")).der(),
        replace(VENDOR.leaf(amd.Chip()), end=LATE, issuer_key=amd.rsa_key("other")).der(),
        replace(VENDOR.ask, end=LATE, issuer=VENDOR.ask.subject, issuer_key=VENDOR.ask.key).der(),
    ],
    ids=["ARK", "ASK", "VCEK", "an ASK that stands for itself"],
)
def test_forged_certificates_beside_the_right_ones_of_amd(forged: bytes) -> None:
    assert judge_report(forged) == "SEV-VCEK"
    chip = amd.Chip()
    name = read_certificate(forged).subject
    rest = [one for one in VENDOR.chain(chip) if read_certificate(one).subject != name]
    with pytest.raises(NotAuthenticError):
        authenticate_report(
            reports.parse(chip.report()), Endorsements((forged, *rest)), VENDOR.roots, now=amd.NOW
        )


def test_forged_certificates_beside_the_right_ones_of_nvidia() -> None:
    device = nvidia.Device()
    late = NOW + timedelta(days=1)
    forged = (
        aws.certificate("leaf", "instance", signer="other", extension=nvidia.TCB_INFO, end=late),
        aws.certificate("zone", "region", signer="other", end=late),
        aws.certificate("region", "region", end=late),
    )
    supplied = Endorsements((*forged, *device.chain))
    proven = authenticate_answer(answers.parse(device.evidence()), supplied, nvidia.roots(), now=NOW)
    assert [one.common_name for one in proven.chain] == list(aws.NAMES)


@pytest.mark.parametrize("which", ["root", "ca", "pck", "signing"])
def test_forged_certificates_beside_the_right_ones_of_intel(which: str) -> None:
    fake = Intel()
    forged = replace(getattr(fake, which), end=intel.END + timedelta(days=1), issuer_key="other")
    if which == "pck":
        forged = replace(forged, extension=fake.platform.extension())
    supplied = Endorsements((forged.der(),)) | fake.endorsements()
    proven = authenticate_quote(quotes.parse(fake.quote()), supplied, fake.roots(), now=intel.NOW)
    assert proven.tcb is not None
    alone = replace(fake, **{which: forged})
    with pytest.raises(NotAuthenticError):
        authenticate_quote(quotes.parse(alone.quote()), alone.endorsements(), alone.roots(), now=intel.NOW)
