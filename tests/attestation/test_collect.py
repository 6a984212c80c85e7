"""Which evidence does a machine give, and from where?  Machines of our own, from bare to well equipped."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from attestation import collect
from attestation.collect import KINDS, Request
from attestation.errors import CollectError, NoTeeError, UnsupportedTeeError
from attestation.eventlog.collect import CCEL, TPM_LOG, event_log
from attestation.guest import LinuxGuest
from attestation.snp.certificate_table import KINDS as CERTIFICATE_KINDS
from attestation.tsm import REPORTS
from tests.fakes import swtpm
from tests.fakes.amd import Amd
from tests.fakes.azure import Azure
from tests.fakes.guest import CHIP, FakeGuest, Nsm, SevGuest, TdxGuest, Tsm, no_pause
from tests.fakes.swtpm import Paravisor

DATA = bytes(range(64))
REQUEST = Request(DATA, "entry")
SEV, TDX, NSM, TPM = "dev/sev-guest", "dev/tdx_guest", "dev/nsm", "dev/tpmrm0"
DENIED = frozenset({REPORTS})


def tdx(**changed: object) -> Tsm:
    made = Tsm(provider="tdx_guest", report=lambda data, _: b"quote" + data, auxblob=None, floor=None)
    return replace(made, **changed)


def cca() -> Tsm:
    return Tsm(provider="arm_cca_guest", report=lambda data, _: b"token" + data, smallest=32, floor=None)


def nsm() -> Nsm:
    return Nsm(lambda request: cbor2.dumps({"Attestation": {"document": request}}))


def table(kind: str, data: bytes) -> bytes:
    guid = next(guid for guid, name in CERTIFICATE_KINDS.items() if name == kind)
    return guid + (48).to_bytes(4, "little") + len(data).to_bytes(4, "little") + bytes(24) + data


# What machine is this?

MACHINES: dict[str, tuple[FakeGuest, str]] = {
    "SEV-SNP": (FakeGuest(tsm=Tsm()), "snp"),
    "TDX": (FakeGuest(tsm=tdx()), "tdx"),
    "Arm CCA, which has no device": (FakeGuest(tsm=cca()), "cca"),
    "SEV-SNP before Linux 6.7": (FakeGuest(ioctls={SEV: SevGuest()}), "snp"),
    "TDX before Linux 6.7": (FakeGuest(ioctls={TDX: TdxGuest()}), "tdx"),
    "driver before its provider": (FakeGuest(tsm=Tsm(registered=False), ioctls={SEV: SevGuest()}), "snp"),
    "device that is open to others than root": (
        FakeGuest(tsm=Tsm(), ioctls={SEV: SevGuest()}, denied=DENIED),
        "snp",
    ),
    "enclave": (FakeGuest(ioctls={NSM: nsm()}), "nitro"),
    "the provider first": (FakeGuest(tsm=tdx(), ioctls={SEV: SevGuest(), NSM: nsm()}), "tdx"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_machine_is_recognised(name: str) -> None:
    guest, kind = MACHINES[name]
    assert collect.detect(guest, "entry") == kind
    assert guest.tsm is None or guest.tsm.entries == {}


def test_nothing_is_never_the_simulation() -> None:
    with pytest.raises(NoTeeError, match="found none, want one of /dev/sev-guest"):
        collect.detect(FakeGuest(), "entry")


SILENT: dict[str, tuple[FakeGuest, str]] = {
    "nothing behind configfs-tsm": (
        FakeGuest(tsm=Tsm(registered=False)),
        "none; configfs-tsm entry/mkdir: ENXIO",
    ),
    "not root": (
        FakeGuest(tsm=Tsm(), denied=DENIED),
        "none; configfs-tsm entry/mkdir: EACCES: only root may ask",
    ),
    "TPM that may not be asked": (
        FakeGuest(exchanges={TPM: bytes}, denied=frozenset({TPM})),
        "none; /dev/tpmrm0: EACCES: only root and the group tss may ask",
    ),
    "TPM that says nothing": (FakeGuest(exchanges={TPM: lambda _: b""}), "none; TPM2_NV_ReadPublic response"),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_is_there_but_does_not_speak_is_said(name: str) -> None:
    guest, text = SILENT[name]
    with pytest.raises(NoTeeError, match=text):
        collect.detect(guest, "entry")


def test_provider_that_is_not_known_is_named() -> None:
    with pytest.raises(
        UnsupportedTeeError, match="provider: found pkvm_guest, want sev_guest or tdx_guest or arm"
    ):
        collect.detect(FakeGuest(tsm=Tsm(provider="pkvm_guest")), "entry")


def test_kernel_that_fails_is_an_error() -> None:
    class Failing(Tsm):
        def mkdir(self, name: str) -> None:
            del name
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with pytest.raises(CollectError, match="entry/mkdir: found ENOMEM"):
        collect.detect(FakeGuest(tsm=Failing(), ioctls={SEV: SevGuest()}), "entry")


# What does it give?


def test_report_of_configfs_comes_with_the_hosts_certificates() -> None:
    amd = Amd()
    vcek = amd.leaf(CHIP).der()
    guest = FakeGuest(
        tsm=Tsm(auxblob=table("VCEK", vcek), manifestblob=b"services"), ioctls={SEV: SevGuest()}
    )
    found = collect.collect("snp", guest, replace(REQUEST, privlevel=1))
    assert (found.source, found.evidence[0x50:0x90], found.manifest) == ("configfs-tsm", DATA, b"services")
    assert found.evidence[0x30] == 1
    assert found.endorsements.certificates == (vcek,)


def test_report_of_the_device_comes_with_the_hosts_certificates() -> None:
    vcek = Amd().leaf(CHIP).der()
    found = collect.collect("snp", FakeGuest(ioctls={SEV: SevGuest(table("VCEK", vcek))}), REQUEST)
    assert (found.source, found.evidence[0x50:0x90]) == ("/dev/sev-guest", DATA)
    assert found.endorsements.certificates == (vcek,)
    assert collect.collect("snp", FakeGuest(tsm=Tsm()), REQUEST).endorsements.certificates == ()


@pytest.mark.parametrize(("kind", "kernel", "evidence"), [("tdx", tdx(), b"quote"), ("cca", cca(), b"token")])
def test_other_providers_give_theirs(kind: str, kernel: Tsm, evidence: bytes) -> None:
    found = collect.collect(kind, FakeGuest(tsm=kernel), REQUEST)
    assert (found.kind, found.evidence, found.source) == (kind, evidence + DATA, "configfs-tsm")


def test_enclave_gives_a_document() -> None:
    found = collect.collect("nitro", FakeGuest(ioctls={NSM: nsm()}), REQUEST)
    assert cbor2.loads(found.evidence)["Attestation"]["user_data"] == DATA
    assert found.source == "/dev/nsm"


def test_simulation_is_collected_by_name() -> None:
    found = collect.collect("simulated", FakeGuest(), REQUEST)
    assert found.evidence[0x50:0x90] == DATA
    assert len(found.endorsements.certificates) == 3


def test_domain_without_configfs_asks_the_service_of_the_host() -> None:
    with pytest.raises(CollectError, match="Quote Generation Service at vsock 2:4050: found ECONNRESET"):
        collect.collect("tdx", FakeGuest(ioctls={TDX: TdxGuest()}), REQUEST)


@pytest.fixture(scope="module")
def vtpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paravisor]:
    with swtpm.running(tmp_path_factory.mktemp("tpm")) as software:
        yield Paravisor(software, Azure())


def test_vm_of_azure_is_recognised_and_gives_its_evidence(vtpm: Paravisor) -> None:
    guest = FakeGuest(exchanges={TPM: vtpm.exchange}, ioctls={NSM: nsm()})
    assert collect.detect(guest, "entry") == "azure-snp"
    found = collect.collect("azure-snp", guest, REQUEST)
    assert set(json.loads(found.evidence)) == {"hcl_report", "tpm_quote"}
    assert (found.kind, found.source) == ("azure-snp", "/dev/tpmrm0")


# Refusals


@pytest.mark.parametrize("kind", ["sgx", "nvidia", "", "auto", "tpm"])
def test_kind_that_is_not_collected_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedTeeError, match="kind of evidence"):
        collect.collect(kind, FakeGuest(tsm=Tsm()), REQUEST)


@pytest.mark.parametrize("size", [0, 63, 65])
@pytest.mark.parametrize("kind", KINDS)
def test_report_data_of_another_length_is_the_callers_bug(kind: str, size: int) -> None:
    with pytest.raises(ValueError, match="64"):
        collect.collect(kind, FakeGuest(), Request(bytes(size), "entry"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "snp"])
def test_privilege_level_is_for_snp_alone(kind: str) -> None:
    with pytest.raises(UnsupportedTeeError, match="privilege level"):
        collect.collect(kind, FakeGuest(), replace(REQUEST, privlevel=0))


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        ("snp", "configfs-tsm or /dev/sev-guest"),
        ("tdx", "configfs-tsm or /dev/tdx_guest"),
        ("cca", "configfs-tsm "),
    ],
)
@pytest.mark.parametrize("kernel", [None, Tsm(registered=False)])
def test_machine_of_another_kind_says_what_is_missing(kind: str, want: str, kernel: Tsm | None) -> None:
    with pytest.raises(UnsupportedTeeError, match=f"want {want}"):
        collect.collect(kind, FakeGuest(tsm=kernel), REQUEST)


@pytest.mark.parametrize(("kind", "device"), [("nitro", NSM), ("azure-snp", TPM), ("azure-tdx", TPM)])
def test_device_that_is_missing_is_named(kind: str, device: str) -> None:
    with pytest.raises(CollectError, match=f"/{device}: found ENOENT: no "):
        collect.collect(kind, FakeGuest(), REQUEST)


def test_refusal_of_configfs_is_not_passed_over_for_the_device() -> None:
    device = SevGuest()
    guest = FakeGuest(tsm=Tsm(refusals=[errno.ENXIO]), ioctls={SEV: device})
    with pytest.raises(CollectError, match="entry/outblob: found ENXIO"):
        collect.collect("snp", guest, REQUEST)
    assert device.asked == []


def test_provider_of_another_kind_is_refused() -> None:
    with pytest.raises(CollectError, match="provider: found tdx_guest, want sev_guest"):
        collect.collect("snp", FakeGuest(tsm=tdx(), ioctls={SEV: SevGuest()}), REQUEST)


# Event logs


@pytest.mark.parametrize(
    ("kind", "place"),
    [("tdx", CCEL), ("cca", CCEL), ("azure-snp", TPM_LOG), ("azure-tdx", TPM_LOG), ("tpm", TPM_LOG)],
)
def test_event_log_is_read_where_the_kernel_has_it(kind: str, place: str) -> None:
    assert event_log(FakeGuest(files={place: b"events"}), kind) == b"events"
    with pytest.raises(CollectError, match="ENOENT: the firmware left no log"):
        event_log(FakeGuest(), kind)
    with pytest.raises(CollectError, match="0 bytes"):
        event_log(FakeGuest(files={place: b""}), kind)
    with pytest.raises(CollectError, match="EFBIG: more than 4194304 bytes"):
        event_log(FakeGuest(files={place: bytes((1 << 22) + 1)}), kind)
    with pytest.raises(CollectError, match="EACCES: only root"):
        event_log(FakeGuest(files={place: b"x"}, denied=frozenset({place})), kind)


@pytest.mark.parametrize("kind", ["snp", "nitro", "simulated"])
def test_kind_without_an_event_log_is_refused(kind: str) -> None:
    with pytest.raises(CollectError, match=f"evidence of {kind}, want one of tdx"):
        event_log(FakeGuest(), kind)


# This machine's own kernel, below a root of ours


def test_bare_machine_says_that_it_has_nothing(tmp_path: Path) -> None:
    guest = LinuxGuest(tmp_path, lambda _cid, _port: pytest.fail("connected"), no_pause)
    with pytest.raises(NoTeeError, match="found none, want"):
        collect.detect(guest, "entry")
    (tmp_path / "dev").mkdir()
    (tmp_path / SEV).touch()
    assert collect.detect(guest, "entry") == "snp"
    with pytest.raises(CollectError, match="/dev/sev-guest: found ENOTTY"):
        collect.collect("snp", guest, REQUEST)


def test_request_below_a_folder_is_removed_although_the_kernel_is_missing(tmp_path: Path) -> None:
    (tmp_path / REPORTS).mkdir(parents=True)
    guest = LinuxGuest(tmp_path, lambda _cid, _port: pytest.fail("connected"), no_pause)
    with pytest.raises(CollectError, match="entry/provider: found ENOENT"):
        collect.collect("snp", guest, REQUEST)
    assert list((tmp_path / REPORTS).iterdir()) == []
