"""A VM of Azure: a real TPM in software, and a paravisor of ours that reports what it is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from attestation import kinds
from attestation.azure import collect, evidence
from attestation.azure.authenticate import Authenticated, authenticate
from attestation.azure.collect import REPORT_INDEX, USER_DATA_INDEX
from attestation.errors import CollectError, SignatureError, UnsupportedTeeError
from attestation.tpm import storage
from attestation.tpm.command import Tpm
from tests.fakes import swtpm
from tests.fakes.amd import NOW, Amd
from tests.fakes.azure import Azure
from tests.fakes.swtpm import Paravisor, Software

DATA = bytes(range(64))
AMD = Amd()


@pytest.fixture(scope="module")
def software(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Software]:
    with swtpm.running(tmp_path_factory.mktemp("tpm")) as started:
        yield started


def quote_of(paravisor: Paravisor) -> Callable[[bytes], bytes]:
    """What Azure's metadata service does: the quote of the domain whose report it is given."""

    def quote(td_report: bytes) -> bytes:
        machine = paravisor.reported()
        assert td_report == machine.hardware()[:1024]
        return machine.machine().quote()

    return quote


def judge(paravisor: Paravisor, data: bytes) -> Authenticated:
    fake = paravisor.reported()
    if fake.tee == "snp":
        return authenticate(
            evidence.parse(data), AMD.endorsements(fake.chip, lists=[AMD.crl()]), AMD.roots, now=NOW
        )
    machine = fake.machine()
    return authenticate(evidence.parse(data), machine.endorsements(), machine.roots(), now=NOW)


@pytest.mark.parametrize("tee", ["snp", "tdx"])
def test_evidence_of_the_vm_is_authentic_and_bound(software: Software, tee: str) -> None:
    paravisor = Paravisor(software, Azure(tee=tee))
    assert collect.kind(paravisor.tpm()) == f"azure-{tee}"
    found = judge(paravisor, collect.evidence(paravisor.tpm(), tee, DATA, quote_of(paravisor)))
    assert found.evidence.hcl.user_data == DATA
    assert kinds.KINDS[f"azure-{tee}"].report_data(found) == hashlib.sha256(DATA).digest()
    assert sorted(found.evidence.quote.pcrs) == list(range(24))
    assert paravisor.pauses == []


def test_key_of_another_vm_did_not_make_the_quote(software: Software) -> None:
    paravisor = Paravisor(software, Azure())
    paravisor.key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(SignatureError):
        judge(paravisor, collect.evidence(paravisor.tpm(), "snp", DATA, None))


@pytest.mark.parametrize("late", [1, 3, 4])
def test_report_is_waited_for(software: Software, late: int) -> None:
    paravisor = Paravisor(software, Azure(), late=late)
    found = evidence.parse(collect.evidence(paravisor.tpm(), "snp", DATA, None))
    assert found.hcl.user_data == DATA
    assert paravisor.pauses == [0.5, 1, 2, 4][:late]


def test_report_that_never_covers_the_data_is_an_error(software: Software) -> None:
    paravisor = Paravisor(software, Azure(), late=5)
    with pytest.raises(
        CollectError, match=f"user-data: found {'00' * 64}, want {DATA.hex()}, as was written"
    ):
        collect.evidence(paravisor.tpm(), "snp", DATA, None)


def test_report_that_is_being_written_is_read_again(software: Software) -> None:
    paravisor = Paravisor(software, Azure(), late=2)

    def exchange(command: bytes) -> bytes:
        response = paravisor.exchange(command)
        if paravisor.waiting == 2:
            paravisor.written_in_parts(b"HCLA" + b"\xff" * 600)
        return response

    found = collect.evidence(Tpm(exchange, paravisor.pause), "snp", DATA, None)
    assert evidence.parse(found).hcl.user_data == DATA
    assert len(paravisor.pauses) == 2


@pytest.mark.parametrize(("tee", "other"), [("snp", "tdx"), ("tdx", "snp")])
def test_other_hardware_is_refused_before_anything_is_written(
    software: Software, tee: str, other: str
) -> None:
    paravisor = Paravisor(software, Azure(tee=tee))
    with pytest.raises(CollectError, match=f"found azure-{tee}, want azure-{other}"):
        collect.evidence(paravisor.tpm(), other, DATA, quote_of(paravisor))
    assert paravisor.written == bytes(64)


def test_domain_without_a_way_to_its_quote_is_refused(software: Software) -> None:
    paravisor = Paravisor(software, Azure(tee="tdx"))
    with pytest.raises(UnsupportedTeeError, match="metadata service"):
        collect.evidence(paravisor.tpm(), "tdx", DATA, None)
    assert paravisor.written == bytes(64)


def test_users_index_is_made_where_there_is_none(software: Software) -> None:
    body = swtpm.OWNER.to_bytes(4, "big") + USER_DATA_INDEX.to_bytes(4, "big") + swtpm.PASSWORD
    storage.write(software.tpm(), USER_DATA_INDEX, bytes(64))
    swtpm.sent(software, 0x122, body)
    paravisor = Paravisor(software, Azure())
    assert json.loads(collect.evidence(paravisor.tpm(), "snp", DATA, None))["tpm_quote"]
    assert storage.find(software.tpm(), USER_DATA_INDEX) == storage.Index(USER_DATA_INDEX, 64)


def test_tpm_of_another_machine_has_no_report(tmp_path_factory: pytest.TempPathFactory) -> None:
    with swtpm.running(tmp_path_factory.mktemp("other")) as other:
        assert collect.kind(other.tpm()) is None
        with pytest.raises(CollectError, match=f"TPM index 0x{REPORT_INDEX:08x}: found no such index"):
            collect.evidence(other.tpm(), "snp", DATA, None)
