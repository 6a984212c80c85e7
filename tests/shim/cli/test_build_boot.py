# ruff: noqa: F811  # fixtures are named as what they are
"""`shim build` in the formats that boot: the image inside, what hardware will say, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from attestation import reference_values as values
from images import eif
from images.measure import pcr, pe, tdx, uki as unified
from tests import guest, measured_boot
from tests.fakes import bzimage, ovmf, pe as fakes
from tests.shim.cli.test_build import Shim, cache, hello, placed, shim  # noqa: F401  # fixtures
from tests.shim.conftest import compile_c  # noqa: F401  # a fixture

MEBIBYTE = 1 << 20
HANDED_OVER = ("--format", "initramfs", "--kernel", "KERNEL", "--reference-values", "x")


@pytest.fixture
def parts(tmp_path: Path) -> tuple[str, ...]:
    kernel = placed(tmp_path / "kernel", bzimage.kernel(), 0o644)
    stub = placed(tmp_path / "stub", fakes.stub(), 0o644)
    return ("--kernel", str(kernel), "--stub", str(stub))


def initramfs(shim: Shim, hello: Path, tmp_path: Path) -> bytes:
    """The same image in the format that the others have inside."""
    assert shim("--format", "initramfs", "-o", tmp_path / "initramfs", hello).returncode == 0
    return (tmp_path / "initramfs").read_bytes()


def registers(path: Path) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for entry in values.parse(path.read_bytes(), "the file").entries:
        found.setdefault(entry.register, set()).add(entry.digest)
    return found


def test_a_unified_kernel_image_has_the_image_inside(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
) -> None:
    out, expected = tmp_path / "out.efi", tmp_path / "expected.json"
    options = ("--reference-values", expected, "--cmdline", "ip=dhcp", "-o", out)
    done = shim("--format", "uki", *parts, *options, hello)
    assert done.returncode == 0, done.stderr
    image = pe.parse(out.read_bytes())
    inside = {section.name: image.contents(section) for section in image.sections}
    assert inside[".initrd"] == initramfs(shim, hello, tmp_path)
    line = inside[".cmdline"].decode()
    assert line.startswith("rdinit=/shim/launch console=ttyS0 ")
    assert line.endswith(" ip=dhcp")
    found, parsed = registers(expected), unified.parse(out.read_bytes())
    assert found["pcr9"] == {pcr.kernel_inputs(parsed, "sha256")}
    assert found["pcr11"] == {pcr.image_contents(parsed, "sha256")}
    for name in ("pcr9", "pcr11"):
        assert f"expected {name} sha-256:{found[name].pop().hex()}" in done.stdout
    assert "sysrq_always_enabled" not in line  # the kernel takes it for a yes, whatever stands behind it


@pytest.mark.parametrize("form", ["disk", "vhd"])
def test_a_disk_holds_the_same_program(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
    form: str,
) -> None:
    assert shim("--format", "uki", *parts, "-o", tmp_path / "uki", hello).returncode == 0
    assert shim("--format", form, *parts, "-o", tmp_path / "disk", hello).returncode == 0
    disk, program = (tmp_path / "disk").read_bytes(), (tmp_path / "uki").read_bytes()
    assert len(disk) % MEBIBYTE == (512 if form == "vhd" else 0)
    assert disk[512:520] == b"EFI PART"
    assert program in disk
    assert (tmp_path / "disk").stat().st_blocks * 512 < len(disk) // 8


def test_firmware_boots_a_disk_into_its_program(shim: Shim, hello: Path, tmp_path: Path) -> None:
    kernel = guest.kernel()
    if not measured_boot.CODE.is_file() or not measured_boot.STUB.is_file():
        pytest.skip(f"no firmware or no stub ({measured_boot.PACKAGES})")
    disk = tmp_path / "disk.vhd"
    done = shim("--format", "vhd", "--kernel", kernel, "-o", disk, hello, "a word")
    assert done.returncode == 0, done.stderr
    variables = placed(tmp_path / "variables", measured_boot.VARIABLES.read_bytes(), 0o600)
    command = [guest.QEMU, "-accel", "tcg", "-cpu", "max", "-m", "512", "-no-reboot", "-nic", "none"]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={measured_boot.CODE}"]
    command += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    command += ["-drive", f"file={disk},format=vpc,if=none,id=disk,snapshot=on"]
    command += ["-device", "virtio-blk-pci,drive=disk,bootindex=0"]
    booted = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=guest.SECONDS,
        check=False,
    )
    lines = [line.strip("\r") for line in booted.stdout.splitlines()]
    assert "2 a word" in lines, booted.stdout[-2000:] + booted.stderr[-500:]
    assert "shim: exit code 7" in lines
    assert booted.returncode == 0


def test_an_enclave_says_what_was_predicted(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
) -> None:
    out, expected = tmp_path / "out.eif", tmp_path / "expected.json"
    arguments = (*parts[:2], "--reference-values", expected, "-o", out, hello)
    assert shim("--format", "eif", *arguments).returncode == 0
    enclave = eif.parse(out.read_bytes())
    assert registers(expected) == {f"pcr{number}": {digest} for number, digest in enclave.registers.items()}
    assert initramfs(shim, hello, tmp_path) in [section.data for section in enclave.sections]


def test_an_initramfs_that_a_vmm_hands_over_has_reference_values(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
) -> None:
    expected = tmp_path / "expected.json"
    firmware = placed(tmp_path / "firmware", ovmf.firmware(), 0o644)
    common = ("--format", "initramfs", *parts[:2], "--reference-values", expected, "-o", tmp_path / "out")
    done = shim(*common, hello)
    line = done.stdout.splitlines()[0].split("boots with ")[1]
    kernel, image = Path(parts[1]).read_bytes(), (tmp_path / "out").read_bytes()
    assert image == initramfs(shim, hello, tmp_path)
    assert registers(expected) == {
        "rtmr1": {tdx.rtmr1(kernel)},
        "rtmr2": {tdx.rtmr2(image, line.encode())},
    }
    done = shim(*common, "--firmware", firmware, "--snp", "1:EPYC-Milan", "--snp", "4:EPYC-Milan", hello)
    assert done.returncode == 0, done.stderr
    assert len(registers(expected)["measurement"]) == 2
    assert json.loads(expected.read_text())["values"][0]["environment"]["vcpu_type"] == "EPYC-Milan"


def test_a_bootable_image_is_the_same_each_time(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
) -> None:
    for form in ("uki", "disk", "vhd", "eif"):
        given = parts[:2] if form == "eif" else parts
        found = set()
        for umask in (0o022, 0o077):
            shim("--format", form, *given, "-o", tmp_path / "out", hello, umask=umask)
            found.add(hashlib.sha256((tmp_path / "out").read_bytes()).hexdigest())
        assert len(found) == 1, form


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "uki"), "--format uki: found no kernel, want --kernel FILE"),
        (("--format", "eif"), "--format eif: found no kernel, want --kernel FILE"),
        (("--format", "oci", "--kernel", "KERNEL"), "found --kernel, want --kernel FILE and a format"),
        (("--cmdline", "quiet"), "found --cmdline, want --kernel FILE and a format that boots"),
        (("--reference-values", "x"), "found --reference-values, want --kernel FILE"),
        (("--format", "eif", "--kernel", "KERNEL", "--stub", "STUB"), "found --stub, want none"),
        (("--format", "uki", "--kernel", "STUB", "--stub", "STUB"), "kernel.header: found no"),
        (("--format", "uki", "--kernel", "KERNEL", "--stub", "hello"), "stub: PE image: found"),
        (("--format", "uki", "--kernel", "KERNEL", "--stub", "KERNEL"), "stub"),
        (("--format", "disk", "--kernel", "hello"), "found"),
        (("--format", "uki", "--kernel", "nothing"), "does not exist"),
        (("--format", "uki", "--kernel", "KERNEL", "--firmware", "STUB"), "want --format initramfs"),
        (("--format", "initramfs", "--kernel", "KERNEL"), "found --kernel, want --reference-values FILE"),
        (
            (*HANDED_OVER, "--snp", "1:EPYC"),
            "beside",
        ),
        (
            (*HANDED_OVER, "--firmware", "STUB", "--snp", "0:EPYC-Milan"),
            "found '0:EPYC-Milan', want 1 to 4096",
        ),
        (
            (*HANDED_OVER, "--firmware", "STUB"),
            "firmware",
        ),
        (("--format", "eif", "--kernel", "KERNEL", "--cmdline", "a\nb"), "command line: found"),
        (("--format", "eif", "--kernel", "KERNEL", "--cmdline", "a" * 3000), "want at most 2047"),
        (("--format", "eif", "--kernel", "KERNEL", "--reference-values", "no/such/folder"), "no/such/folder"),
    ],
)
def test_what_does_not_boot_is_refused_and_nothing_written(
    shim: Shim,
    hello: Path,
    tmp_path: Path,
    parts: tuple[str, ...],
    options: tuple[str, ...],
    message: str,
) -> None:
    named = {"KERNEL": parts[1], "STUB": parts[3]}
    before = set(tmp_path.iterdir())
    done = shim(*(named.get(word, word) for word in options), "-o", "out", hello)
    assert done.returncode != 0
    assert message in done.stderr
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {".cache"}
