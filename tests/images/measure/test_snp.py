"""
Launch digests: against recorded ones, a slow second implementation, and sev-snp-measure where it is installed.

The recorded cases name firmware of which only the launch digest behind its pages is known, and the layout of its
build (edk2's OvmfPkg/AmdSev of 2023, as in `tests/fakes/ovmf.py`).  They reproduce from these two.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from images.measure import firmware, sev, snp, vcpu
from images.measure.errors import FirmwareError, KernelHashesError, LaunchParameterError
from images.measure.firmware import Firmware
from images.measure.kernel_hashes import KernelHashes, kernel_hashes
from images.measure.snp import Launch
from images.measure.vmsa import Vmm
from tests import vectors
from tests.fakes import ovmf
from tests.vectors import Case

FIRMWARE = firmware.parse(ovmf.firmware())
LAUNCH = Launch(2, vcpu.signature_of("EPYC-v4"))
HASHES = kernel_hashes(b"kernel", b"initrd", b"console=ttyS0")
# Debian's; Debian's and Fedora's that measure kernels.
INSTALLED = (
    Path("/usr/share/ovmf/OVMF.fd"),
    Path("/usr/share/ovmf/OVMF.amdsev.fd"),
    Path("/usr/share/edk2/ovmf/OVMF.amdsev.fd"),
)
# The launch digest behind the last 4 KiB of that firmware, which is what sev-snp-measure's tests take for all of it.
SUFFIX = bytes.fromhex(
    "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74"
)


def recorded(case: Case) -> tuple[Launch, KernelHashes | None, bytes]:
    """Return what a recorded case measured; it is skipped where its firmware is not known."""
    value = json.loads(case.read("case"))
    if value["mode"] != "SEV_SNP" or "AmdSev" not in value["ovmf"]:
        pytest.skip(f"{value['mode']} of {value['ovmf']}: the firmware is not part of the case")
    launch = Launch(
        value["vcpus"],
        value["vcpu_sig"] or 0,
        Vmm(value.get("vmm_type", "qemu").lower()),
        value["guest_features"],
    )
    given = value.get("snp_ovmf_hash_str")
    hashes = None if value["kernel"] is None else kernel_hashes(b"", b"", value["append"].encode())
    return launch, hashes, bytes.fromhex(given) if given else SUFFIX


@pytest.mark.parametrize("case", vectors.cases("measure", role="case"))
def test_recorded_digest_is_reproduced(case: Case) -> None:
    launch, hashes, after = recorded(case)
    assert snp.launch_digest(FIRMWARE, launch, hashes, after_firmware=after).hex() == case.expected


@pytest.mark.parametrize("case", vectors.cases("measure", role="case"))
def test_recorded_digest_depends_on_every_input(case: Case) -> None:
    launch, hashes, after = recorded(case)
    others = [
        Launch(launch.vcpus + 1, launch.cpu_signature, launch.vmm, launch.guest_features),
        Launch(launch.vcpus, launch.cpu_signature, launch.vmm, launch.guest_features ^ 0x20),
    ]
    for other in others:
        assert snp.launch_digest(FIRMWARE, other, hashes, after_firmware=after).hex() != case.expected
    changed = kernel_hashes(b"another")
    assert snp.launch_digest(FIRMWARE, launch, changed, after_firmware=after).hex() != case.expected
    assert snp.launch_digest(FIRMWARE, launch, hashes, after_firmware=after[::-1]).hex() != case.expected


def slow(image: Firmware, launch: Launch, hashes: KernelHashes | None) -> bytes:
    """Return a launch digest for QEMU, written down a second time, byte by byte as the tables stand."""
    state = "00" * 48

    def add(kind: int, gpa: int, contents: bytes) -> None:
        nonlocal state
        digest = hashlib.sha384(contents).hexdigest() if kind in {1, 2} else "00" * 48
        info = state + digest + "7000" + f"{kind:02x}" + "00" * 5 + gpa.to_bytes(8, "little").hex()
        state = hashlib.sha384(bytes.fromhex(info)).hexdigest()

    for page in range(len(image.data) // 4096):
        add(1, 0xFFFFFFFF + 1 - len(image.data) + page * 4096, image.data[page * 4096 : page * 4096 + 4096])
    for gpa, size, kind in ovmf.AMD_SEV:
        for page in range(gpa, gpa + size, 4096):
            contents = b""
            if kind == 0x10 and hashes is not None:
                contents = bytes(ovmf.HASH_AREA[0] & 0xFFF) + table(hashes)
                contents += bytes(4096 - len(contents))
            page_type = {1: 3, 2: 5, 3: 6, 4: 3, 0x10: 1 if contents else 3}[kind]
            add(page_type, page, contents)
    for number in range(launch.vcpus):
        add(2, 0xFFFFFFFFF000, qemu_vmsa(0xFFFFFFF0 if number == 0 else ovmf.AP_ADDRESS, launch))
    return bytes.fromhex(state)


def table(hashes: KernelHashes) -> bytes:
    rows = "06d63894224fc94cb479a793d411fd21 a800"
    rows += "d82dd09720bd944caa78e7714d36ab2a 3200" + hashes.cmdline.hex()
    rows += "31f7ba442f3ad74b9af141e29169781d 3200" + hashes.initrd.hex()
    rows += "3794e74dd2ab7f42b835d5b172d2045b 3200" + hashes.kernel.hex()
    return bytes.fromhex(rows) + bytes(8)


def qemu_vmsa(address: int, launch: Launch) -> bytes:
    page = bytearray(4096)
    for number, attributes in enumerate((0x93, 0x9B, 0x93, 0x93, 0x93, 0x93, 0, 0x82, 0, 0x8B)):
        struct.pack_into("<HHI", page, number * 16, 0, attributes, 0xFFFF)
    struct.pack_into("<H", page, 0x10, 0xF000)
    values = {
        0x18: address & 0xFFFF0000,
        0xD0: 0x1000,
        0x148: 0x40,
        0x158: 0x10,
        0x160: 0x400,
        0x168: 0xFFFF0FF0,
    }
    values |= {0x170: 2, 0x178: address & 0xFFFF, 0x268: 0x7040600070406, 0x310: launch.cpu_signature}
    values |= {0x3B0: launch.guest_features, 0x3E8: 1, 0x408: 0x1F80, 0x410: 0x37F}
    for offset, value in values.items():
        struct.pack_into("<Q", page, offset, value)
    return bytes(page)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.binary(max_size=9),
)
def test_digest_is_that_of_the_slow_implementation(
    vcpus: int, signature: int, features: int, direct: int, seed: bytes
) -> None:
    image = firmware.parse(ovmf.firmware(size=0x4000, seed=seed, tdx=b""))
    launch = Launch(vcpus, signature, Vmm.QEMU, features)
    hashes = kernel_hashes(seed, seed[1:], seed.hex().encode()) if direct else None
    assert snp.launch_digest(image, launch, hashes) == slow(image, launch, hashes)


def test_table_of_hashes_stands_where_the_firmware_looks() -> None:
    assert HASHES.table() == table(HASHES)
    assert HASHES.cmdline == hashlib.sha256(b"console=ttyS0\0").digest()


@pytest.fixture
def peer() -> ModuleType:
    pytest.importorskip("sevsnpmeasure", reason="no sev-snp-measure (pip install 'tee-shim[bench]')")
    from sevsnpmeasure import guest  # noqa: PLC0415  # only where it is

    return guest


@pytest.mark.parametrize("vmm", list(Vmm))
@pytest.mark.parametrize("hashes", [None, HASHES], ids=["firmware", "kernel"])
@pytest.mark.parametrize("vcpus", [1, 5])
def test_digest_is_that_of_sev_snp_measure(
    peer: ModuleType, tmp_path: Path, vmm: Vmm, hashes: KernelHashes | None, vcpus: int
) -> None:
    from sevsnpmeasure import sev_mode, vmm_types  # noqa: PLC0415  # only where it is

    for name, data in {"ovmf": FIRMWARE.data, "kernel": b"kernel", "initrd": b"initrd"}.items():
        (tmp_path / name).write_bytes(data)
    other = {Vmm.QEMU: "QEMU", Vmm.EC2: "ec2", Vmm.GCE: "gce"}[vmm]
    theirs = peer.calc_launch_digest(
        sev_mode.SevMode.SEV_SNP,
        vcpus,
        LAUNCH.cpu_signature,
        str(tmp_path / "ovmf"),
        str(tmp_path / "kernel") if hashes else "",
        str(tmp_path / "initrd"),
        "console=ttyS0",
        0x21,
        "",
        vmm_types.VMMType[other],
    )
    ours = Launch(vcpus, LAUNCH.cpu_signature, vmm, 0x21)
    assert snp.launch_digest(FIRMWARE, ours, hashes) == theirs


@pytest.mark.parametrize("hashes", [None, HASHES], ids=["firmware", "kernel"])
def test_digests_of_sev_and_sev_es_are_those_of_sev_snp_measure(
    peer: ModuleType, tmp_path: Path, hashes: KernelHashes | None
) -> None:
    from sevsnpmeasure import sev_mode  # noqa: PLC0415  # only where it is

    for name, data in {"ovmf": FIRMWARE.data, "kernel": b"kernel", "initrd": b"initrd"}.items():
        (tmp_path / name).write_bytes(data)
    kernel = str(tmp_path / "kernel") if hashes else ""
    arguments = (3, LAUNCH.cpu_signature, str(tmp_path / "ovmf"), kernel, str(tmp_path / "initrd"))
    mode = sev_mode.SevMode
    theirs = peer.calc_launch_digest(mode.SEV, *arguments, "console=ttyS0", 0)
    assert sev.sev_launch_digest(FIRMWARE, hashes) == theirs
    theirs = peer.calc_launch_digest(mode.SEV_ES, *arguments, "console=ttyS0", 0)
    assert sev.sev_es_launch_digest(FIRMWARE, Launch(3, LAUNCH.cpu_signature), hashes) == theirs


def test_digest_of_installed_firmware_is_that_of_sev_snp_measure(peer: ModuleType, tmp_path: Path) -> None:
    from sevsnpmeasure import sev_mode  # noqa: PLC0415  # only where it is

    found = [path for path in INSTALLED if path.is_file()]
    if not found:
        pytest.skip(f"no {', '.join(map(str, INSTALLED))} (apt install ovmf)")
    (tmp_path / "kernel").write_bytes(b"kernel")
    for path in found:
        image = firmware.parse(path.read_bytes())
        measures_kernels = int.from_bytes(image.table[UUID(ovmf.HASHES)][:4], "little") != 0
        kernel, hashes = (
            (str(tmp_path / "kernel"), kernel_hashes(b"kernel")) if measures_kernels else ("", None)
        )
        arguments = (2, LAUNCH.cpu_signature, str(path), kernel, "", "", 1)
        theirs = peer.calc_launch_digest(sev_mode.SevMode.SEV_SNP, *arguments)
        assert snp.launch_digest(image, LAUNCH, hashes) == theirs


def test_digest_with_an_svsm_is_that_of_sev_snp_measure(peer: ModuleType, tmp_path: Path) -> None:
    from sevsnpmeasure import sev_mode  # noqa: PLC0415  # only where it is

    variables = 0x84000
    module = ovmf.firmware(entries={ovmf.SVSM: struct.pack("<I", 0x1000)}, seed=b"svsm")
    (tmp_path / "ovmf").write_bytes(FIRMWARE.data)
    (tmp_path / "svsm").write_bytes(module)
    theirs = peer.calc_launch_digest(
        sev_mode.SevMode.SEV_SNP_SVSM,
        *(2, LAUNCH.cpu_signature, str(tmp_path / "ovmf"), "", "", "", 1),
        svsm_file=str(tmp_path / "svsm"),
        ovmf_vars_size=variables,
    )
    svsm = firmware.parse(module, end=FIRMWARE.gpa - variables)
    assert snp.svsm_launch_digest(FIRMWARE, svsm, LAUNCH) == theirs


def test_svsm_must_say_where_it_starts() -> None:
    for data in (None, b"\0", struct.pack("<I", 0x10000)):
        svsm = firmware.parse(ovmf.firmware(entries={ovmf.SVSM: data}), end=0x80000000)
        with pytest.raises(FirmwareError, match="SVSM info"):
            snp.svsm_launch_digest(FIRMWARE, svsm, LAUNCH)
    svsm = firmware.parse(ovmf.firmware(entries={ovmf.SVSM: bytes(4)}), end=0x80000000)
    with pytest.raises(LaunchParameterError, match="no other starts an SVSM"):
        snp.svsm_launch_digest(FIRMWARE, svsm, Launch(1, 0, Vmm.GCE))


def test_ec2_adds_the_page_for_cpuid_behind_all_others() -> None:
    moved = [row for row in ovmf.AMD_SEV if row[2] != 3] + [row for row in ovmf.AMD_SEV if row[2] == 3]
    other = firmware.parse(ovmf.firmware(ovmf.sev_metadata(moved)))
    after = bytes(range(48))
    for vmm, same in ((Vmm.EC2, True), (Vmm.QEMU, False), (Vmm.GCE, False)):
        digests = {
            snp.launch_digest(image, Launch(1, 0, vmm), after_firmware=after) for image in (FIRMWARE, other)
        }
        assert (len(digests) == 1) is same


@pytest.mark.parametrize(
    "area", [None, bytes(8), struct.pack("<II", 0, 0x400), struct.pack("<II", 0x810C00, 100)]
)
def test_kernel_without_a_place_for_its_hash_is_refused(area: bytes | None) -> None:
    image = firmware.parse(ovmf.firmware(entries={ovmf.HASHES: area}))
    snp.launch_digest(image, LAUNCH)
    for digest in (snp.launch_digest, sev.sev_es_launch_digest):
        with pytest.raises(KernelHashesError, match="else no kernel is measured"):
            digest(image, LAUNCH, HASHES)
    with pytest.raises(KernelHashesError, match="else no kernel is measured"):
        sev.sev_launch_digest(image, HASHES)


def test_kernel_without_a_section_for_its_hash_is_refused() -> None:
    rows = [row for row in ovmf.AMD_SEV if row[2] != 0x10]
    image = firmware.parse(ovmf.firmware(ovmf.sev_metadata(rows)))
    with pytest.raises(KernelHashesError, match="no section for kernel hashes"):
        snp.launch_digest(image, LAUNCH, HASHES)


def test_firmware_without_the_tables_of_snp_is_refused() -> None:
    for guid in (ovmf.SEV, ovmf.RESET):
        with pytest.raises(FirmwareError, match="firmware"):
            snp.launch_digest(firmware.parse(ovmf.firmware(entries={guid: None})), LAUNCH)


@pytest.mark.parametrize("size", [0, 47, 49])
def test_digest_of_the_firmware_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(LaunchParameterError, match=f"{size} bytes, want 48"):
        snp.launch_digest(FIRMWARE, LAUNCH, after_firmware=bytes(size))


@pytest.mark.parametrize(
    "arguments",
    [(0, 0), (-1, 0), (4097, 0), (1, -1), (1, 1 << 32), (1, 0, Vmm.QEMU, -1), (1, 0, Vmm.QEMU, 1 << 64)],
)
def test_launch_that_no_vm_has_is_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(LaunchParameterError):
        Launch(*arguments)


def test_command_line_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(LaunchParameterError, match="a zero byte"):
        kernel_hashes(b"", b"", b"console=ttyS0\0evil")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EPYC", 0x800F12),
        ("EPYC-Rome", 0x830F10),
        ("EPYC-Milan-v2", 0xA00F11),
        ("EPYC-Genoa", 0xA10F10),
        ("EPYC-Turin", 0xB00F00),
    ],
)
def test_types_have_the_signatures_of_their_processors(name: str, expected: int) -> None:
    assert vcpu.signature_of(name) == expected


def test_types_have_the_signatures_of_sev_snp_measure(peer: ModuleType) -> None:
    from sevsnpmeasure.vcpu_types import CPU_SIGS  # noqa: PLC0415  # only where it is

    del peer
    assert CPU_SIGS.items() <= vcpu.SIGNATURES.items()


@pytest.mark.parametrize("name", ["", "epyc", "EPYC-v9", "EPYC-Milan-v4", "Skylake-Server"])
def test_unknown_type_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(LaunchParameterError, match=r"one of EPYC, EPYC-v1, .*EPYC-Turin"):
        vcpu.signature_of(name)


@given(st.integers(0, 0x10E), st.integers(0, 0xFF), st.integers(0, 0xF))
def test_signature_keeps_its_parts(family: int, model: int, stepping: int) -> None:
    value = vcpu.signature(family, model, stepping)
    assert (value >> 8 & 0xF) + (value >> 20 & 0xFF) == family
    assert (value >> 12 & 0xF0) | (value >> 4 & 0xF) == model
    assert value & 0xF == stepping


@pytest.mark.parametrize(
    "numbers", [(-1, 0, 0), (0x10F, 0, 0), (0, 256, 0), (0, -1, 0), (0, 0, 16), (0, 0, -1)]
)
def test_numbers_that_cpuid_cannot_say_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(LaunchParameterError, match="want 0 to"):
        vcpu.signature(*numbers)
