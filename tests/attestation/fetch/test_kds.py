"""Which answers of AMD's service are right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from attestation import needed
from attestation.certificate import read_certificate
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    SignatureError,
    ValidityError,
)
from attestation.snp import evidence, kds
from attestation.snp.products import GENOA, MILAN, PRODUCTS, TURIN
from attestation.snp.report import SigningKey
from attestation.wanted import Answer
from tests import vectors
from tests.fakes import amd
from tests.fakes.amd import END, NOW, START, Amd, Chip, turin_chip
from tests.fakes.service import pem
from tests.vectors import Case

AMD, CHIP = Amd(), Chip()
LEAF, ASK, ARK = AMD.chain(CHIP)
ABOVE = pem(ASK, ARK)
STRANGER = Amd(label="stranger")
DAY = timedelta(days=1)
CHAIN = kds.CertificateChain(MILAN, SigningKey.VCEK, AMD.roots)
VCEK = kds.Vcek(MILAN, CHIP.hwid, CHIP.tcb, AMD.roots)
CRL = kds.RevocationList(MILAN, SigningKey.VCEK, AMD.roots)


def test_urls_are_those_of_the_service() -> None:
    turin = turin_chip()
    assert kds.Vcek(TURIN, turin.hwid, turin.tcb).url == (
        f"https://kdsintf.amd.com/vcek/v1/Turin/{turin.hwid.hex()}"
        "?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=200"
    )
    assert VCEK.url == (
        f"https://kdsintf.amd.com/vcek/v1/Milan/{CHIP.hwid.hex()}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
    )
    assert CHAIN.url == "https://kdsintf.amd.com/vcek/v1/Milan/cert_chain"
    assert kds.RevocationList(GENOA, SigningKey.VLEK).url == "https://kdsintf.amd.com/vlek/v1/Genoa/crl"


@given(st.sampled_from(PRODUCTS), st.binary(min_size=64, max_size=64), st.binary(min_size=8, max_size=8))
def test_every_url_names_what_it_was_made_from(product: object, chip: bytes, levels: bytes) -> None:
    assert product in PRODUCTS
    for line in PRODUCTS:
        layout = zip(line.tcb_layout, levels, strict=True)
        tcb = bytes(0 if name.startswith("spl") else level for name, level in layout)
        for kind in (SigningKey.VCEK, SigningKey.VLEK):
            for one in needed.of_product(line, kind):
                assert needed.named(one.url) == one
        vcek = kds.Vcek(line, chip[: line.hwid_size], tcb)
        assert needed.named(vcek.url) == vcek


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://kdsintf.amd.com/vcek/v1/Milan/",
        "https://kdsintf.amd.com/vcek/v1/Rome/cert_chain",
        "https://kdsintf.amd.com/vcek/v1/Milan/cert_chain?x=1",
        "http://kdsintf.amd.com/vcek/v1/Milan/cert_chain",
        "https://kdsintf.amd.com.example.com/vcek/v1/Milan/cert_chain",
        VCEK.url.upper(),
        VCEK.url.replace("blSPL=04", "blSPL=4"),
        VCEK.url.replace("ucodeSPL=219", "ucodeSPL=256"),
        VCEK.url.replace("&snpSPL=24", ""),
        VCEK.url + "&fmcSPL=01",
        VCEK.url.replace("Milan", "Turin"),
        VCEK.url.replace("/vcek/", "/vlek/"),
        CHAIN.url + "\n",
    ],
)
def test_no_other_url_names_anything(url: str) -> None:
    with pytest.raises(EvidenceFormatError):
        needed.named(url)


def test_right_answers_are_taken() -> None:
    assert set(CHAIN.check(Answer(ABOVE), NOW).endorsements.certificates) == {ASK, ARK}
    found = VCEK.check(Answer(LEAF, ABOVE), NOW)
    assert (set(found.endorsements.certificates), found.issued) == ({LEAF, ASK, ARK}, START)
    listed = CRL.check(Answer(AMD.crl([0x11]), ABOVE), NOW)  # also one that takes back what stands above
    assert len(listed.endorsements.revocation_lists) == 1


def test_turin_has_its_own_layout() -> None:
    line, chip = Amd(product=TURIN), turin_chip()
    leaf, ask, ark = line.chain(chip)
    wanted = kds.Vcek(TURIN, chip.hwid, chip.tcb, line.roots)
    assert wanted.check(Answer(leaf, pem(ask, ark)), NOW)
    swapped = bytes([chip.tcb[1], chip.tcb[0], *chip.tcb[2:]])
    with pytest.raises(NotAuthenticError, match=r"found 1, want 2, as asked|found 2, want 1, as asked"):
        replace(wanted, tcb=swapped).check(Answer(leaf, pem(ask, ark)), NOW)


def vcek_of(chip: Chip, line: Amd = AMD) -> bytes:
    return line.chain(chip)[0]


def test_certificate_of_another_chip_is_refused_with_both() -> None:
    other = Chip(label="other")
    with pytest.raises(NotAuthenticError) as caught:
        VCEK.check(Answer(vcek_of(other), ABOVE), NOW)
    assert str(caught.value).startswith(
        f"SEV-VCEK.HWID: found {other.hwid.hex()}, want {CHIP.hwid.hex()}, as asked (AMD 57230"
    )


@pytest.mark.parametrize(("place", "name"), [(0, "blSPL"), (1, "teeSPL"), (6, "snpSPL"), (7, "ucodeSPL")])
def test_certificate_for_another_tcb_is_refused(place: int, name: str) -> None:
    tcb = bytearray(CHIP.tcb)
    tcb[place] += 1
    with pytest.raises(
        NotAuthenticError, match=f"SEV-VCEK.{name}: found {tcb[place]}, want {tcb[place] - 1}"
    ):
        VCEK.check(Answer(vcek_of(replace(CHIP, tcb=bytes(tcb))), ABOVE), NOW)


GENOA_LINE = Amd(product=GENOA)
GENOA_CHAIN = GENOA_LINE.chain(replace(CHIP, product=GENOA))


@pytest.mark.parametrize(
    ("body", "issuers", "error"),
    [
        (LEAF, pem(*STRANGER.chain(CHIP)[1:]), SignatureError),  # another root of the same name
        (vcek_of(CHIP, STRANGER), ABOVE, SignatureError),
        (vcek_of(CHIP, STRANGER), pem(*STRANGER.chain(CHIP)[1:]), NotAuthenticError),
        (GENOA_CHAIN[0], pem(*GENOA_CHAIN[1:]), NotAuthenticError),
        (GENOA_CHAIN[0], ABOVE, MissingEndorsementError),
        (AMD.chain(Chip(is_vlek=True))[0], pem(*AMD.chain(Chip(is_vlek=True))[1:]), NotAuthenticError),
        (ASK, ABOVE, NotAuthenticError),
        (LEAF + ASK, ABOVE, EvidenceFormatError),
        (AMD.crl(), ABOVE, EvidenceFormatError),
        (LEAF[:-1], ABOVE, EvidenceFormatError),
        (b"", ABOVE, EvidenceFormatError),
        (b"<html>please log in</html>", ABOVE, EvidenceFormatError),
        (LEAF, pem(ASK), MissingEndorsementError),
        (LEAF, pem(ARK), MissingEndorsementError),
        (replace(AMD.leaf(CHIP), end=NOW - DAY).der(), ABOVE, ValidityError),
        (replace(AMD.leaf(CHIP), start=NOW + DAY).der(), ABOVE, ValidityError),
        (LEAF, pem(replace(AMD.ask, end=NOW - DAY).der(), ARK), ValidityError),
        (LEAF, pem(replace(AMD.ask, signs_certificates=False).der(), ARK), NotAuthenticError),
    ],
)
def test_wrong_vceks_are_refused(body: bytes, issuers: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        VCEK.check(Answer(body, issuers), NOW)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (pem(*STRANGER.chain(CHIP)[1:]), NotAuthenticError),
        (pem(*GENOA_CHAIN[1:]), MissingEndorsementError),
        (pem(AMD.asvk.der(), ARK), MissingEndorsementError),
        (pem(ASK), MissingEndorsementError),
        (pem(ASK, ARK, LEAF), MissingEndorsementError),
        (pem(ARK), MissingEndorsementError),
        (b"garbage", EvidenceFormatError),
        (ABOVE[:-40], EvidenceFormatError),
    ],
)
def test_wrong_chains_are_refused(body: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        CHAIN.check(Answer(body), NOW)


def test_chain_of_a_product_is_not_that_of_another_under_both_roots() -> None:
    both = replace(AMD.roots, products={**AMD.roots.products, **GENOA_LINE.roots.products})
    with pytest.raises(AuthenticationError):
        replace(CHAIN, roots=both).check(Answer(pem(*GENOA_CHAIN[1:])), NOW)
    with pytest.raises(NotAuthenticError, match="found a certificate of Genoa, want Milan"):
        replace(VCEK, roots=both).check(Answer(GENOA_CHAIN[0], pem(*GENOA_CHAIN[1:])), NOW)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (AMD.crl(key=amd.rsa_key("stranger")), SignatureError),
        (AMD.crl(issuer="ARK-Genoa"), NotAuthenticError),
        (AMD.crl(end=NOW - DAY), ValidityError),
        (AMD.crl(start=NOW + DAY), ValidityError),
        (AMD.crl(critical={"1.2.3.4": b"\x05\x00"}), MissingEndorsementError),
        (AMD.crl() + AMD.crl(), EvidenceFormatError),
        (LEAF, EvidenceFormatError),
        (AMD.crl()[:-1], EvidenceFormatError),
        (b"", EvidenceFormatError),
    ],
)
def test_wrong_lists_are_refused(body: bytes, error: type[AuthenticationError]) -> None:
    with pytest.raises(error):
        CRL.check(Answer(body, ABOVE), NOW)


def test_root_that_may_not_sign_lists_signs_none() -> None:
    above = pem(ASK, replace(AMD.ark, signs_revocations=False).der())
    with pytest.raises(NotAuthenticError, match="cRLSign"):
        CRL.check(Answer(AMD.crl(), above), NOW)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_only_our_errors_escape_from_anything(body: bytes, issuers: bytes) -> None:
    for wanted in (CHAIN, VCEK, CRL):
        with pytest.raises(AuthenticationError):
            wanted.check(Answer(body, issuers), NOW)


SIGNED = len(read_certificate(LEAF).signed.data)


@given(st.integers(0, SIGNED + 3), st.integers(1, 255))
def test_one_changed_byte_that_is_signed_makes_a_certificate_wrong(place: int, change: int) -> None:
    damaged = bytearray(LEAF)
    damaged[place] ^= change
    with pytest.raises(AuthenticationError):
        VCEK.check(Answer(bytes(damaged), ABOVE), NOW)


# What a report needs


def test_report_names_what_it_needs() -> None:
    wanted = needed.of_evidence(evidence.parse(CHIP.report()))
    assert wanted == (CHAIN, VCEK, CRL)
    turin = turin_chip()
    assert needed.of_evidence(evidence.parse(turin.report()))[1] == kds.Vcek(TURIN, turin.hwid, turin.tcb)


def test_report_of_version_2_may_be_of_two_products() -> None:
    old = evidence.parse(CHIP.report(2))
    wanted = needed.of_evidence(old)
    assert {one.url.split("/")[5] for one in wanted} == {"Milan", "Genoa"}
    assert needed.is_ambiguous(wanted)
    assert needed.of_evidence(old, [MILAN]) == (CHAIN, VCEK, CRL)


def test_vlek_is_not_handed_out() -> None:
    wanted = needed.of_evidence(evidence.parse(Chip(is_vlek=True).report()))
    assert [one.url.rpartition("/")[2] for one in wanted] == ["cert_chain", "crl"]
    assert all("/vlek/" in one.url for one in wanted)


def test_masked_chip_cannot_be_asked_for() -> None:
    with pytest.raises(EvidenceFormatError, match="the host masks it"):
        needed.of_evidence(evidence.parse(CHIP.report(CHIP_ID=bytes(64))))


def test_unknown_processor_needs_nothing_that_is_known() -> None:
    assert needed.of_evidence(evidence.parse(CHIP.report(CPUID_FAM_ID=0x2A))) == ()


@pytest.mark.parametrize("case", vectors.cases("snp", role="vek"))
def test_real_certificates_are_right_answers_for_their_reports(case: Case) -> None:
    from attestation import endorsements  # noqa: PLC0415  # one use

    found = endorsements.parse(case.read("vek"))
    chain = endorsements.parse(case.read("chain"))
    report = evidence.parse(case.read("report")).report
    if report.signing_key is not SigningKey.VCEK or not case.expected.startswith("valid"):
        pytest.skip("no VCEK, or a wrong one on purpose")
    product = MILAN if report.cpuid is None or report.cpuid[1] < 0x10 else GENOA
    wanted = kds.Vcek(product, report.chip_id, report.reported_tcb)
    at = case.time
    assert at is not None
    assert wanted.check(Answer(found.certificates[0], pem(*chain.certificates)), at)
    with pytest.raises(NotAuthenticError, match="as asked"):
        replace(wanted, hwid=bytes(64)).check(Answer(found.certificates[0], pem(*chain.certificates)), at)
    with pytest.raises(ValidityError, match="this machine's clock"):
        wanted.check(Answer(found.certificates[0], pem(*chain.certificates)), END + 9000 * DAY)
