"""A VM of a fake Azure: what is right is accepted, and each single thing that is wrong has its error."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attestation.appraise import appraise
from attestation.azure import evidence
from attestation.azure.authenticate import Authenticated, authenticate
from attestation.binding import Exact
from attestation.endorsements import Endorsements
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    NotAuthenticError,
    PolicyError,
    SignatureError,
)
from attestation.policy import load
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from tests.attestation.intel.test_appraise import TDX
from tests.fakes import azure, intel
from tests.fakes.amd import NOW, Amd
from tests.fakes.azure import CONFIGURATION, REGISTERS, Azure, attest, jwk
from tests.fakes.policies import STRICT, changed, policy

EXAMPLES = Path(__file__).resolve().parents[3] / "attestation" / "examples"
AMD = Amd()
BOUND = hashlib.sha256(bytes(64)).digest()
SOME = tuple(range(16))


def supplied(fake: Azure) -> tuple[Endorsements, Any]:
    if fake.tee == "snp":
        return AMD.endorsements(fake.chip, lists=[AMD.crl()]), AMD.roots
    return fake.machine().endorsements(), fake.machine().roots()


def judge(fake: Azure, data: bytes | None = None) -> Authenticated:
    more, roots = supplied(fake)
    return authenticate(evidence.parse(data or fake.evidence()), more, roots, now=NOW)


GOOD = {
    "on SEV-SNP": Azure(),
    "on TDX": Azure(tee="tdx"),
    "SHA-384": Azure(hash_type=2),
    "SHA-512": Azure(hash_type=3),
    "signature with its algorithm": Azure(wrapped=True),
    "one register": Azure(message=attest(b"", (4,))),
    "a longer key": Azure(keys=(jwk("ak", "HCLAkPub", 3072),), bits=3072),
    "more keys": Azure(keys=(jwk("ek", "HCLEkPub"), jwk("ak", "HCLAkPub"))),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_evidence_is_authentic(name: str) -> None:
    proven = judge(GOOD[name])
    assert proven.evidence.quote.pcrs[4] == REGISTERS[4]
    assert (proven.evidence.quote.attest.resets, proven.evidence.quote.attest.restarts) == (2, 3)


BROKEN: dict[str, tuple[Azure, type[AuthenticationError], str]] = {
    "quote of another key": (Azure(signer="other"), SignatureError, "TPM quote"),
    "key that the hardware does not vouch for": (
        Azure(vouched=bytes(64)),
        NotAuthenticError,
        "report.report_data",
    ),
    "digest and something else": (
        Azure(vouched=hashlib.sha256(Azure().data()).digest() + b"\1" * 32),
        NotAuthenticError,
        "report.report_data",
    ),
    "the same on TDX": (Azure(tee="tdx", vouched=bytes(64)), NotAuthenticError, "report.report_data"),
    "short key": (
        Azure(keys=(jwk("ak", "HCLAkPub", 1024),), bits=1024),
        NotAuthenticError,
        "attestation key",
    ),
    "registers that were not quoted": (
        Azure(registers=(bytes(32), *REGISTERS[1:])),
        NotAuthenticError,
        "quote.pcrDigest",
    ),
    **{
        f"TDREPORT with another {name}": (
            Azure(tee="tdx", raw_td={place: b"\xaa"}),
            NotAuthenticError,
            f"TDREPORT.{name}",
        )
        for name, place in {
            "REPORTDATA": 128,
            "ATTRIBUTES": 512,
            "XFAM": 520,
            "MRTD": 528,
            "MRCONFIGID": 576,
            "MROWNER": 624,
            "MROWNERCONFIG": 672,
            "RTMRs": 911,
        }.items()
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    fake, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(fake)
    assert type(caught.value) is error
    assert caught.value.where == where


MALFORMED: dict[str, Azure] = {
    "another signature": Azure(header=b"HCLB"),
    "another hash": Azure(hash_type=4),
    "something behind it": Azure(behind=b"\1"),
    "no key": Azure(keys=()),
    "two keys": Azure(keys=(jwk("ak", "HCLAkPub"), jwk("other", "HCLAkPub"))),
    "a key of another type": Azure(keys=({**jwk("ak", "HCLAkPub"), "kty": "EC"},)),
    "a key that is none": Azure(keys=({**jwk("ak", "HCLAkPub"), "e": "AA"},)),
    "a key of other letters": Azure(keys=({**jwk("ak", "HCLAkPub"), "n": "***"},)),
    "user data of 63 bytes": Azure(user_data="00" * 63),
    "no quote": Azure(message=attest(b"", SOME, kind=0x8017)),
    "made outside": Azure(message=attest(b"", SOME, magic=0)),
    "another bank": Azure(message=attest(b"", SOME, bank=0x0C)),
    "two banks": Azure(message=attest(b"", SOME, banks=2)),
    "no register": Azure(message=attest(b"", ())),
    "behind the quote": Azure(message=attest(b"", SOME, behind=b"\0")),
    "too few registers": Azure(registers=REGISTERS[:8]),
    "too many registers": Azure(registers=(*REGISTERS, bytes(32))),
    "a register of 31 bytes": Azure(registers=(bytes(31), *REGISTERS[1:])),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_evidence_of_another_form(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        judge(MALFORMED[name])


def test_a_quote_of_a_trust_domain_beside_sev_snp_is_not_passed_over() -> None:
    parts = {**Azure().parts(), "td_quote": Azure(tee="tdx").parts()["td_quote"]}
    with pytest.raises(EvidenceFormatError) as caught:
        evidence.parse(json.dumps(parts).encode())
    assert caught.value.where == "evidence.td_quote"


@pytest.mark.parametrize("part", ["hcl_report", "tpm_quote", "td_quote"])
@pytest.mark.parametrize("value", [None, 1, "zz", [], {}])
def test_parts_that_are_none(part: str, value: object) -> None:
    fake = Azure(tee="tdx")
    with pytest.raises(EvidenceFormatError):
        judge(fake, json.dumps({**fake.parts(), part: value}).encode())


def test_hardware_of_the_other_vendor() -> None:
    with pytest.raises(NotAuthenticError):
        authenticate(evidence.parse(Azure().evidence()), Endorsements(), intel.Intel().roots(), now=NOW)
    with pytest.raises(NotAuthenticError):
        authenticate(evidence.parse(Azure(tee="tdx").evidence()), Endorsements(), AMD.roots, now=NOW)


BOOTED = {f"pcr{number}": [REGISTERS[number].hex()] for number in range(16)}
VM = {"secure_boot": "set", "tpm_enabled": "set", "console_enabled": "clear", "id": ["ONE"]}
COMMON: dict[str, object] = {"boot": "vtpm", "binding": "exact", "crl": "required", "max_clock_skew": 0}
SNP: dict[str, object] = {**STRICT, **COMMON, "tee": "azure-snp", "mitigations": {"launch": "unchecked", "current": "unchecked"}, "pcrs": BOOTED, "vm": VM}  # fmt: skip
ON_TDX: dict[str, object] = {
    **TDX,
    **COMMON,
    "tee": "azure-tdx",
    "pcrs": BOOTED,
    "vm": VM,
}


def appraised(fake: Azure, values: dict[str, object]) -> AttestationResult:
    more, roots = supplied(fake)
    return appraise(fake.evidence(), more, policy(values), binding=Exact(bytes(64)), now=NOW, roots=roots)


def refused(fake: Azure, values: dict[str, object]) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        appraised(fake, values)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policies_describe_is_affirmed() -> None:
    for fake, values in ((Azure(), SNP), (Azure(tee="tdx"), ON_TDX)):
        result = appraised(fake, values)
        assert result.claims is not None
        assert (result.claims["reference"], result.claims["boot"]) == ("the fake", "vtpm")


@pytest.mark.parametrize("number", range(16))
def test_one_register_that_is_not_accepted(number: int) -> None:
    values = changed(f"pcrs.pcr{number}", ["ff" * 32], SNP)
    assert refused(Azure(), values) == {f"pcrs.pcr{number}": Verdict.POLICY_MISMATCH}


def test_a_register_that_was_not_quoted() -> None:
    fake = Azure(message=attest(BOUND, tuple(range(15))))
    assert refused(fake, SNP) == {"pcrs.pcr15": Verdict.POLICY_MISMATCH}


def test_the_report_of_the_paravisor_alone_is_said_to_be_that() -> None:
    alone = bytes.fromhex(json.loads(Azure().evidence())["hcl_report"])
    with pytest.raises(EvidenceFormatError, match="found the HCL report alone, want"):
        evidence.parse(alone)


def test_a_vm_whose_firmware_measured_no_program_covers_no_boot() -> None:
    registers = (*REGISTERS[:4], bytes(32), *REGISTERS[5:])
    message = attest(hashlib.sha256(bytes(64)).digest(), tuple(range(16)), registers=registers)
    fake = Azure(registers=registers, message=message)
    assert refused(fake, changed("pcrs.pcr4", ["00" * 32], SNP)) == {"boot": Verdict.POLICY_MISMATCH}


VMS: dict[str, tuple[dict[str, Any], str]] = {
    "no secure boot": ({"secure-boot": False}, "vm.secure_boot"),
    "nothing said of it": ({"secure-boot": None}, "vm.secure_boot"),
    "something else said of it": ({"secure-boot": 1}, "vm.secure_boot"),
    "no TPM": ({"tpm-enabled": False}, "vm.tpm_enabled"),
    "a console": ({"console-enabled": True}, "vm.console_enabled"),
    "another VM": ({"vmUniqueId": "TWO"}, "vm.id"),
}


@pytest.mark.parametrize("name", VMS)
def test_one_thing_about_the_vm(name: str) -> None:
    members, mismatch = VMS[name]
    fake = Azure(configuration={**CONFIGURATION, **members})
    assert refused(fake, SNP) == {mismatch: Verdict.POLICY_MISMATCH}


def test_the_quote_is_bound_by_the_digest_of_the_64_bytes() -> None:
    for extra in (b"", bytes(64), bytes(32)):
        assert refused(Azure(message=attest(extra, SOME)), SNP) == {
            "report.report_data": Verdict.WRONG_BINDING
        }


def test_the_hardware_is_appraised_as_well() -> None:
    fake = Azure(tee="tdx", td={"td_attributes": (1 | 1 << 28).to_bytes(8, "little")})
    assert refused(fake, ON_TDX) == {"td_attributes.debug": Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize(
    ("unchecked", "covered"),
    [((8, 9), True), ((11,), True), ((4,), False), ((8, 11), False), ((9, 11), False), (SOME, False)],
)
def test_the_registers_must_say_what_was_booted(unchecked: tuple[int, ...], covered: bool) -> None:  # noqa: FBT001
    values = SNP
    for number in unchecked:
        values = changed(f"pcrs.pcr{number}", "unchecked", values)
    if covered:
        assert policy(values).tee == "azure-snp"
        return
    with pytest.raises(PolicyError) as caught:
        policy(values)
    assert [problem.key for problem in caught.value.problems] == ["pcrs"]


def test_evidence_of_the_other_hardware_is_malformed() -> None:
    assert refused(Azure(tee="tdx"), SNP) == {"HCL report.report type": Verdict.MALFORMED}


@pytest.mark.parametrize("name", ["policy-azure-snp.toml", "policy-azure-tdx.toml"])
def test_the_example_can_be_loaded(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert load(text, name).tee == tomllib.loads(text)["tee"]


def test_replacing_one_part_of_the_fake_is_noticed() -> None:
    good = Azure()
    assert good.evidence() != replace(good, user_data="01" * 64).evidence()
    assert azure.key("ak") is azure.key("ak")


@pytest.mark.parametrize("levels", ["unchecked", [1], [0, 1, 2, 3]])
def test_only_the_paravisor_may_have_asked_for_the_report(levels: object) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(changed("report.vmpl", levels, SNP))
    assert [problem.key for problem in caught.value.problems] == ["report.vmpl"]


@pytest.mark.parametrize("identifier", [["ONE"], {"ONE": 1}, 1, None])
def test_a_name_that_is_none(identifier: object) -> None:
    fake = Azure(configuration={**CONFIGURATION, "vmUniqueId": identifier})
    assert refused(fake, SNP) == {"vm.id": Verdict.POLICY_MISMATCH}


def test_half_a_character_is_malformed() -> None:
    with pytest.raises(EvidenceFormatError):
        judge(Azure(configuration={**CONFIGURATION, "vmUniqueId": "\ud800"}))
