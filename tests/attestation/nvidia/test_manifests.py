"""Manifests: what NVIDIA signed for the versions of a device is compared, and each thing that is wrong has its error."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from hypothesis import given, settings, strategies as st

from attestation import endorsements, files
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.endorsements import Endorsements
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
from attestation.nvidia import claims, evidence, rim
from attestation.nvidia.authenticate import Authenticated, authenticate
from attestation.nvidia.roots import NvidiaRoots
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from tests.fakes import manifests, nvidia
from tests.fakes.aws import MADE, NOW
from tests.fakes.manifests import CHAIN, DRIVER, NAMES, SWID, VBIOS, Manifest
from tests.fakes.nvidia import ALL_RESPONSES, MEASUREMENTS, OPAQUE, Device, Status
from tests.fakes.policies import changed, policy

BOTH = (DRIVER.document(), VBIOS.document())
RESPONSES = tuple(Status(subject=one, names=NAMES, chain=CHAIN).response() for one in NAMES[:-1])


def judge(*given: Manifest | bytes, responses: tuple[bytes, ...] = (), **options: Any) -> Authenticated:  # noqa: ANN401
    encoded = tuple(one if isinstance(one, bytes) else one.document() for one in given)
    more = Device().endorsements(responses=responses, manifests=encoded)
    return authenticate(evidence.parse(Device().evidence()), more, nvidia.roots(), **{"now": NOW, **options})


def test_manifests_are_told_apart_by_the_versions_that_the_device_states() -> None:
    proven = judge(*BOTH, Manifest(version="1.2"), responses=(*ALL_RESPONSES, *RESPONSES), crl_required=True)
    known = proven.manifests
    assert known.driver is not None
    assert known.vbios is not None
    assert (known.driver.manifest.version, known.vbios.manifest.version) == ("590.12", "96.00.a5.00.01")
    assert known.driver.manifest.golden[21] == {bytes(48), MEASUREMENTS[21]}
    assert sorted(known.vbios.manifest.golden) == [index + 1 for index in range(20) if index != 3]
    shown = claims.of_authenticated(proven)["manifests"]
    assert shown["driver"]["measurements"] == 44


@pytest.mark.parametrize("missing", range(2))
def test_states_of_the_signers_are_required_too(missing: int) -> None:
    rest = tuple(one for number, one in enumerate(RESPONSES) if number != missing)
    with pytest.raises(MissingEndorsementError) as caught:
        judge(*BOTH, responses=(*ALL_RESPONSES, *rest), crl_required=True)
    assert caught.value.where == f"state of {NAMES[missing]}"


WRAPPED = (b"<n:Payload", b'<n:Payload xmlns:n="%s"/><n:Payload' % SWID.encode())
BROKEN: dict[str, tuple[Manifest, type[AuthenticationError]]] = {
    "signed by another key": (Manifest(signer="leaf"), SignatureError),
    "another value": (Manifest(damage=(b'active="False"', b'active="True"')), SignatureError),
    "another version": (Manifest(version="1.2", damage=(b'"1.2"', b'"590.12"')), SignatureError),
    "something added": (Manifest(damage=WRAPPED), SignatureError),
    "another algorithm of signature": (Manifest(method="ecdsa-sha256"), SignatureError),
    "another algorithm of digest": (Manifest(digest="sha256"), SignatureError),
    "a part of it is signed": (Manifest(reference="part"), EvidenceFormatError),
    "a signature elsewhere": (
        Manifest(
            damage=(b"<ds:Signature ", b'<ds:X xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/><ds:Signature ')
        ),
        SignatureError,
    ),
    "no certificates": (Manifest(damage=(b"X509Certificate>", b"X509SKI>")), EvidenceFormatError),
    "certificates that are none": (
        Manifest(damage=(b"<ds:X509Certificate>M", b"<ds:X509Certificate>?")),
        EvidenceFormatError,
    ),
    "a document type": (
        Manifest(damage=(b"<SoftwareIdentity", b"<!DOCTYPE x><SoftwareIdentity")),
        EvidenceFormatError,
    ),
    "an entity": (
        Manifest(damage=(b"<SoftwareIdentity", b'<!DOCTYPE x [<!ENTITY e "e">]><SoftwareIdentity')),
        EvidenceFormatError,
    ),
    "not closed": (Manifest(damage=(b"</SoftwareIdentity>", b"")), EvidenceFormatError),
    "another document": (Manifest(root="Other"), EvidenceFormatError),
    "of another name space": (Manifest(change=(f'xmlns="{SWID}"', 'xmlns="urn:x"')), EvidenceFormatError),
    "an index twice": (Manifest(inactive={20: (bytes(48),)}), EvidenceFormatError),
    "an index that no measurement has": (Manifest(golden={254: (bytes(48),)}), EvidenceFormatError),
    "a digest of another size": (Manifest(golden={1: (bytes(47),)}), EvidenceFormatError),
    "no digest": (Manifest(golden={1: ()}), EvidenceFormatError),
    "a digest that is missing": (
        Manifest(change=('alternatives="2"', 'alternatives="3"')),
        EvidenceFormatError,
    ),
    "neither active nor not": (Manifest(change=('active="True"', 'active="yes"')), EvidenceFormatError),
    "a number that is none": (Manifest(change=('index="20"', 'index="-1"')), EvidenceFormatError),
    "nothing active": (Manifest(golden={}), EvidenceFormatError),
    "no version": (Manifest(change=("colloquialVersion", "x")), EvidenceFormatError),
    "no facts": (Manifest(change=("n:Meta", "n:Other")), EvidenceFormatError),
    "facts twice": (
        Manifest(change=("<n:Payload", '<n:Meta colloquialVersion="1"/><n:Payload')),
        EvidenceFormatError,
    ),
    "an issuer is missing": (Manifest(chain=(CHAIN[0], CHAIN[2])), MissingEndorsementError),
    "signer not signed by its issuer": (
        Manifest(chain=manifests.chain(signed_by="leaf")),
        SignatureError,
    ),
    "a root that allows no issuer": (Manifest(chain=manifests.chain(path_length=0)), NotAuthenticError),
    "signed by an issuer": (Manifest(chain=CHAIN[1:], signer=NAMES[1]), NotAuthenticError),
    "signed by a device": (Manifest(chain=nvidia.CHAIN, signer="leaf"), NotAuthenticError),
    "signer has expired": (Manifest(chain=manifests.chain(start=MADE - timedelta(days=9))), ValidityError),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    manifest, error = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(manifest)
    assert type(caught.value) is error


def test_the_root_of_manifests_is_pinned_and_no_root_of_devices() -> None:
    document = DRIVER.document()
    other = NvidiaRoots("NVIDIA", nvidia.roots().keys, nvidia.roots().keys)
    with pytest.raises(NotAuthenticError) as caught:
        authenticate(
            evidence.parse(Device().evidence()), Device().endorsements(manifests=(document,)), other, now=NOW
        )
    assert caught.value.where == "root of the chain"


def test_a_signer_that_is_revoked() -> None:
    revoked = Status(subject="signer", names=NAMES, chain=CHAIN, state=ocsp.OCSPCertStatus.REVOKED)
    with pytest.raises(RevokedError):
        judge(DRIVER, responses=(revoked.response(),))
    judge(Manifest(version="1.2"), responses=(revoked.response(),))


def test_an_old_manifest_of_another_version_does_not_matter() -> None:
    judge(DRIVER, Manifest(version="1.2", chain=manifests.chain(start=MADE - timedelta(days=9))))


def test_two_manifests_of_one_version_settle_nothing() -> None:
    with pytest.raises(MissingEndorsementError) as caught:
        judge(DRIVER, Manifest(golden={60: (bytes(48),)}))
    assert "590.12" in caught.value.where


def test_without_the_libraries_nothing_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    document = DRIVER.document()
    monkeypatch.setitem(sys.modules, "signxml", None)
    with pytest.raises(MissingEndorsementError, match="tee-shim"):
        judge(document)


def test_large_documents_are_not_parsed() -> None:
    with pytest.raises(EvidenceFormatError, match="bytes"):
        rim.read(b"<" + bytes(rim.MAXIMUM_SIZE))


STRICT: dict[str, object] = {
    "tee": "nvidia",
    "boot": "device-firmware",
    "binding": "exact",
    "max_clock_skew": 0,
    "crl": "required",
    "measurements": "unchecked",
    "device": {
        "driver_version": ["590.12"],
        "vbios_version": ["96.00.A5.00.01"],
        "name": ["leaf"],
        "certificate_hold": "refused",
    },
    "manifests": {"driver": "required", "vbios": "required", "certificate_hold": "refused"},
}


def appraised(
    device: Device,
    *documents: bytes,
    values: dict[str, object] = STRICT,
    answers: tuple[bytes, ...] = RESPONSES,
) -> AttestationResult:
    more = device.endorsements(responses=(*ALL_RESPONSES, *answers), manifests=documents)
    return appraise(
        device.evidence(), more, policy(values), binding=Exact(bytes(64)), now=NOW, roots=nvidia.roots()
    )


def refused(device: Device, *documents: bytes, **options: Any) -> dict[str, Verdict]:  # noqa: ANN401
    with pytest.raises(AppraisalError) as caught:
        appraised(device, *documents, **options)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_manifests_describe_is_affirmed() -> None:
    assert appraised(Device(), *BOTH).unchecked == ("measurements",)


def test_a_manifest_that_is_there_is_used_whatever_the_policy_asks_for() -> None:
    free = changed("manifests.driver", "unchecked", STRICT)
    assert appraised(Device(), *BOTH, values=free).unchecked == ("measurements",)
    assert appraised(Device(), BOTH[1], values=free).unchecked == ("manifests.driver", "measurements")
    other = Device(measurements={**MEASUREMENTS, 64: bytes([1]) * 48})
    assert refused(other, *BOTH, values=free) == {"measurements.64": Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize("index", [1, 20, 21, 64])
def test_every_active_value_has_to_be_measured(index: int) -> None:
    for measured in (
        {**MEASUREMENTS, index: bytes([99]) * 48},
        {number: value for number, value in MEASUREMENTS.items() if number != index},
    ):
        assert refused(Device(measurements=measured), *BOTH) == {
            f"measurements.{index}": Verdict.POLICY_MISMATCH
        }


def test_a_mismatch_says_what_was_found_and_wanted() -> None:
    with pytest.raises(AppraisalError) as caught:
        appraised(Device(measurements={**MEASUREMENTS, 1: bytes([99]) * 48}), *BOTH)
    (mismatch,) = caught.value.mismatches
    assert (mismatch.found, mismatch.want) == ("63" * 48, "01" * 48)
    assert "96.00.a5.00.01" in mismatch.source


def test_a_value_that_is_not_active_is_not_compared() -> None:
    assert (
        appraised(Device(measurements={**MEASUREMENTS, 4: bytes([99]) * 48}), *BOTH).verdict
        is Verdict.AFFIRMING
    )


def test_the_firmware_of_a_decoder_counts_while_the_decoder_is_on() -> None:
    measured = {**MEASUREMENTS, 36: bytes([99]) * 48}
    off, on = {**OPAQUE, 11: b"\x55"}, {**OPAQUE, 11: b"\xaa"}
    appraised(Device(measurements=measured, opaque=off), *BOTH)
    assert refused(Device(measurements=measured, opaque=on), *BOTH) == {
        "measurements.36": Verdict.POLICY_MISMATCH
    }
    assert refused(Device(measurements=measured), *BOTH) == {"measurements.36": Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize(("rest", "field"), [(BOTH[1:], "manifests.driver"), (BOTH[:1], "manifests.vbios")])
def test_a_manifest_that_is_required(rest: tuple[bytes, ...], field: str) -> None:
    assert refused(Device(), *rest) == {field: Verdict.CANNOT_TELL}
    newer = Device(opaque={**OPAQUE, 3: b"590.13\0"})
    assert refused(newer, *BOTH, values=changed("device.driver_version", "unchecked", STRICT)) == {
        "manifests.driver": Verdict.CANNOT_TELL
    }


def test_an_index_belongs_to_one_manifest() -> None:
    both = replace(VBIOS, golden={**VBIOS.golden, 20: (MEASUREMENTS[21],)}).document()
    assert refused(Device(), BOTH[0], both) == {"manifests.21": Verdict.POLICY_MISMATCH}


def test_a_hold_of_a_signer_is_accepted_by_its_own_name() -> None:
    held = Status(
        subject="signer", names=NAMES, chain=CHAIN, state=ocsp.OCSPCertStatus.REVOKED,
        reason=x509.ReasonFlags.certificate_hold,
    )  # fmt: skip
    answers = (held.response(), RESPONSES[1])
    accepted = changed("manifests.certificate_hold", "accepted", STRICT)
    assert refused(Device(), *BOTH, answers=answers) == {"manifests.certificate_hold": Verdict.REVOKED}
    assert refused(
        Device(), *BOTH, answers=answers, values=changed("device.certificate_hold", "accepted", STRICT)
    )
    appraised(Device(), *BOTH, answers=answers, values=accepted)


def test_something_has_to_say_which_firmware_answered() -> None:
    free = {
        **STRICT,
        "manifests": {"driver": "unchecked", "vbios": "unchecked", "certificate_hold": "refused"},
    }
    with pytest.raises(PolicyError, match="which firmware answered"):
        policy(free)


def test_manifests_are_found_in_files_by_their_form(tmp_path: Path) -> None:
    service = {"id": "NV_GPU_DRIVER_GH100_590.12", "rim": base64.b64encode(BOTH[1]).decode()}
    (tmp_path / "a.swidtag").write_bytes(BOTH[0])
    (tmp_path / "b.json").write_text(json.dumps(service))
    assert files.read_endorsements([tmp_path]) == Endorsements(manifests=BOTH)
    with pytest.raises(EvidenceFormatError):
        endorsements.parse(b'{"rim": "?"}')


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(BOTH[0]) - 1), st.integers(1, 255))
def test_no_damaged_manifest_says_anything_else(place: int, change: int) -> None:
    damaged = bytearray(BOTH[0])
    damaged[place] ^= change
    try:
        proven = judge(bytes(damaged))
    except AuthenticationError:
        return
    assert proven.manifests.driver is not None  # as in the spaces between the parts of the signature
    good = judge(BOTH[0]).manifests.driver
    assert good is not None
    assert replace(proven.manifests.driver.manifest, sha256=b"") == replace(good.manifest, sha256=b"")


INSIDE = (
    b"<ds:KeyValue/>", b"<ds:KeyValue><ds:RSAKeyValue/></ds:KeyValue>", b"<ds:X509Data/>", b"<ds:Object/>",
    b'<d:DEREncodedKeyValue xmlns:d="http://www.w3.org/2009/xmldsig11#"/>', b"<ds:Transforms/>", b"<ds:Manifest/>",
    b'<ds:KeyValue><d:ECKeyValue xmlns:d="http://www.w3.org/2009/xmldsig11#"/></ds:KeyValue>', b"<ds:SignatureValue/>",
)  # fmt: skip
ENDS = (
    b"</ds:KeyInfo>",
    b"</ds:X509Data>",
    b"</ds:Signature>",
    b"</ds:SignedInfo>",
    b"</ds:Reference>",
    b"<ds:KeyInfo>",
)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("inside", INSIDE)
def test_what_nobody_signed_in_a_signature_changes_nothing(end: bytes, inside: bytes) -> None:
    changed_in = BOTH[0].replace(end, inside + end)
    assert changed_in != BOTH[0]
    try:
        proven = judge(changed_in)
    except AuthenticationError:
        return
    assert proven.manifests.driver is not None
    assert proven.manifests.driver.manifest.golden.keys() == {index + 1 for index in DRIVER.golden}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for text in (data, b"<" + data, b"<a>" + data + b"</a>"):
        with pytest.raises((EvidenceFormatError, MissingEndorsementError)):
            rim.read(text)
