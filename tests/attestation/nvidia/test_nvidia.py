"""Devices of NVIDIA, real ones and fakes: what is right is accepted, and each thing that is wrong has its error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from attestation import endorsements
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.cache import Cache
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    PolicyError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.nvidia import evidence, roots
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.policy import load
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from tests import vectors
from tests.fakes import aws, nvidia
from tests.fakes.aws import MADE, NOW, certificate
from tests.fakes.nvidia import CHAIN, MEASUREMENTS, OPAQUE, Device
from tests.fakes.policies import changed, policy
from tests.vectors import Case

EXAMPLE = Path(__file__).resolve().parents[3] / "attestation" / "examples" / "policy-nvidia.toml"


def judge_real(case: Case, data: bytes, cache: Cache | None = None) -> Authenticated:
    assert case.time is not None
    supplied = endorsements.parse(case.read("certs"))
    return authenticate(evidence.parse(data), supplied, roots.NVIDIA, now=case.time, cache=cache)


@pytest.mark.parametrize("case", vectors.cases("nvidia"))
def test_real_devices_reach_their_verdicts(case: Case) -> None:
    if case.expected.startswith("invalid: SPDM signature"):
        with pytest.raises(SignatureError):
            judge_real(case, case.read("evidence"))
        return
    proven = judge_real(case, case.read("evidence"))
    assert (len(proven.chain), [one.known for one in proven.states]) == (5, [False] * 4)
    assert len(proven.evidence.measurements) == (31 if "switch" in case.id else 64)
    assert proven.evidence.vbios_version is not None
    assert proven.evidence.vbios_version.startswith("96.")


REAL = [case for case in vectors.load("nvidia") if case.expected.startswith("valid")][:1]


@pytest.mark.parametrize(
    "case",
    REAL or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))],
    ids=lambda case: case.id if case else "absent",
)
def test_no_damaged_copy_of_a_real_answer_is_accepted(case: Case) -> None:
    data, cache = case.read("evidence"), Cache()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises((NotAuthenticError, EvidenceFormatError)):
            judge_real(case, bytes(damaged), cache)
        with pytest.raises(EvidenceFormatError):
            evidence.parse(data[:place])


def judge(fake: Device, *lists: bytes, **options: Any) -> Authenticated:  # noqa: ANN401
    more = fake.endorsements(*lists)
    return authenticate(evidence.parse(fake.evidence()), more, nvidia.roots(), **{"now": NOW, **options})


def test_a_good_answer_is_authentic() -> None:
    proven = judge(Device(), *aws.ALL_LISTS, crl_required=True)
    assert (len(proven.chain), [one.known for one in proven.states]) == (5, [True] * 4)
    assert (proven.evidence.text(3), proven.evidence.vbios_version) == ("590.12", "96.00.A5.00.01")


def replaced(place: int, der: bytes) -> Device:
    return Device(chain=tuple(der if number == place else one for number, one in enumerate(CHAIN)))


BROKEN: dict[str, tuple[Device, type[AuthenticationError], str]] = {
    "signed by another key": (Device(signer="other"), SignatureError, "measurements' signature"),
    "no certificate of a device": (
        Device(chain=CHAIN[1:]),
        MissingEndorsementError,
        "certificate of the device",
    ),
    "an issuer is missing": (
        Device(chain=(*CHAIN[:2], *CHAIN[3:])),
        MissingEndorsementError,
        "issuer of instance",
    ),
    "leaf not signed by its issuer": (
        replaced(0, certificate("leaf", "instance", signer="zone", extension=nvidia.TCB_INFO)),
        SignatureError,
        "leaf",
    ),
    "issuer not signed by the root": (
        replaced(3, certificate("region", "root", signer="zone")),
        SignatureError,
        "region",
    ),
    "issuer that may not sign certificates": (
        replaced(1, certificate("instance", "zone", signs_certificates=False)),
        NotAuthenticError,
        "instance",
    ),
    "issuer that allows none below it": (
        replaced(2, certificate("zone", "region", path_length=0)),
        NotAuthenticError,
        "zone",
    ),
    "key made for other firmware": (
        Device(opaque={**OPAQUE, 20: bytes(48)}),
        NotAuthenticError,
        "leaf.FWID",
    ),
    "firmware without a name": (Device(opaque={**OPAQUE, 20: b""}), NotAuthenticError, "leaf.FWID"),
    "key made for no firmware": (
        replaced(0, certificate("leaf", "instance")),
        NotAuthenticError,
        "leaf.FWID",
    ),
    "key of Blackwell's made for other firmware": (
        replaced(0, certificate("leaf", "instance", extension=nvidia.later_info(bytes(48), nvidia.FWID))),
        NotAuthenticError,
        "leaf.FWID",
    ),
    "key of Blackwell's made for no firmware": (
        replaced(0, certificate("leaf", "instance", extension=nvidia.later_info())),
        NotAuthenticError,
        "leaf.FWID",
    ),
    "key of Blackwell's with the digest elsewhere": (
        replaced(0, certificate("leaf", "instance", extension=nvidia.later_info(nvidia.FWID, tag=0xAA))),
        NotAuthenticError,
        "leaf.FWID",
    ),
    "what Blackwell's key was made for, broken off": (
        replaced(0, certificate("leaf", "instance", extension=("2.23.133.5.4.1.1", b"\x30\x05\xa6"))),
        EvidenceFormatError,
        "leaf.TcbInfo.DER",
    ),
    "expired issuer": (
        replaced(2, certificate("zone", "region", start=MADE.replace(year=2020))),
        ValidityError,
        "zone",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    fake, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(fake)
    assert type(caught.value) is error
    assert caught.value.where == where


def test_a_key_of_blackwell_says_more_than_its_firmware() -> None:
    info = nvidia.later_info(nvidia.FWID, bytes(48))
    judge(replaced(0, certificate("leaf", "instance", extension=info)))


def test_the_root_is_pinned() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        authenticate(evidence.parse(Device().evidence()), Device().endorsements(), roots.NVIDIA, now=NOW)
    assert caught.value.where == "root of the chain"


def test_an_issuer_that_may_not_sign_lists() -> None:
    fake = replaced(3, certificate("region", "root", signs_revocations=False))
    with pytest.raises(NotAuthenticError) as caught:
        judge(fake, aws.revocation_list("region"))
    assert caught.value.where == "region"


def test_revocation() -> None:
    with pytest.raises(RevokedError):
        judge(Device(), aws.revocation_list("region", 5))
    with pytest.raises(MissingEndorsementError):
        judge(Device(), *aws.ALL_LISTS[:-1], crl_required=True)


MALFORMED: dict[str, Device] = {
    "another version": Device(request=bytes.fromhex("12e001ff")),
    "not signed": Device(request=bytes.fromhex("11e000ff")),
    "one measurement": Device(request=bytes.fromhex("11e00101")),
    "an error": Device(head=bytes.fromhex("117f0000")),
    "something behind it": Device(behind=b"\0"),
    "fewer blocks than it says": Device(count=65),
    "more blocks than it says": Device(count=63),
    "another specification": Device(specification=2),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_an_answer_of_another_form(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(MALFORMED[name].evidence())
    with pytest.raises(EvidenceFormatError):
        evidence.parse(bytes((1 << 16) + 1))


STRICT: dict[str, object] = {
    **tomllib.loads(EXAMPLE.read_text()),
    "binding": "exact",
    "crl": "required",
    "device": {
        "driver_version": ["590.12"],
        "vbios_version": ["96.00.A5.00.01"],
        "name": ["leaf"],
        "certificate_hold": "refused",
    },
    "manifests": {"driver": "unchecked", "vbios": "unchecked", "certificate_hold": "refused"},
    "measurements": {"1": ["01" * 48], "64": ["40" * 48, "ff" * 48]},
}


def appraised(fake: Device, values: dict[str, object] = STRICT) -> AttestationResult:
    more = fake.endorsements(*aws.ALL_LISTS)
    return appraise(
        fake.evidence(), more, policy(values), binding=Exact(bytes(64)), now=NOW, roots=nvidia.roots()
    )


def refused(fake: Device, values: dict[str, object] = STRICT) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        appraised(fake, values)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policy_describes_is_affirmed() -> None:
    assert appraised(Device()).unchecked == ("manifests.driver", "manifests.vbios")


ONE_WRONG = {
    "measurements.1": Device(measurements={**MEASUREMENTS, 1: bytes(48)}),
    "measurements.64": Device(measurements={index: MEASUREMENTS[index] for index in range(1, 64)}),
    "device.driver_version": Device(opaque={**OPAQUE, 3: b"590.13\0"}),
    "device.vbios_version": Device(opaque={**OPAQUE, 6: b"96.00.A5.00.02"}),
}


@pytest.mark.parametrize("field", ONE_WRONG)
def test_one_thing_that_is_not_accepted(field: str) -> None:
    assert refused(ONE_WRONG[field]) == {field: Verdict.POLICY_MISMATCH}


def test_another_device_or_another_question() -> None:
    other = changed("device.name", ["other"], STRICT)
    assert refused(Device(), other) == {"device.name": Verdict.POLICY_MISMATCH}
    assert refused(Device(nonce=bytes(32))) == {"report.report_data": Verdict.WRONG_BINDING}


@pytest.mark.parametrize(
    "value", [{}, {"0": ["00" * 48]}, {"1": []}, {"1": ["00"]}, {"one": ["00" * 48]}, "unchecked"]
)
def test_measurements_that_are_none(value: object) -> None:
    with pytest.raises(PolicyError):
        policy({**STRICT, "measurements": value})


def test_the_example_can_be_loaded() -> None:
    assert load(EXAMPLE.read_text(), EXAMPLE.name).tee == "nvidia"
