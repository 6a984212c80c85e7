"""What is predicted of an image is what policies accept: evidence that carries exactly that, and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attestation import reference_values as plain
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError
from attestation.reference_files import load_policy
from attestation.reference_values import Entry
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from images import eif, reference_values, uki
from images.boot_errors import EifError
from images.measure.errors import FirmwareError, KernelHashesError, LaunchParameterError, PeError, UkiError
from images.measure.snp import Launch
from images.measure.vcpu import signature_of
from images.reference_values import DirectBoot, NamedLaunch
from images.uki import Parts
from shim.cli import verify
from tests.fakes import amd, aws, intel, ovmf, pe
from tests.fakes.amd import Amd, Chip
from tests.fakes.aws import ALL_LISTS, MEMBERS, Nitro
from tests.fakes.bzimage import kernel
from tests.fakes.intel import Intel
from tests.fakes.policies import STRICT, changed, toml
from tests.fakes.tpm import Tpm

EXAMPLES = Path(__file__).resolve().parents[2] / "attestation" / "examples"
KERNEL, INITRD, LINE = kernel(), b"070701" * 102, "console=ttyS0 quiet"
BOOT = DirectBoot(KERNEL, INITRD, LINE.encode())
FIRMWARE = ovmf.firmware()
LAUNCHES = [NamedLaunch(name, Launch(vcpus, signature_of(name))) for name in ("EPYC-v4", "EPYC-Milan") for vcpus in (1, 2, 4)]  # fmt: skip
LABEL = "hello 1.0"
ENCLAVE = eif.image(
    eif.Parts(KERNEL, LINE, (INITRD, b"070701 application")), eif.Description("hello", "1.0", "shim", "0", 0)
)


def example(tee: str, **changes: object) -> dict[str, object]:
    values: dict[str, object] = tomllib.loads((EXAMPLES / f"policy-{tee}.toml").read_text())
    for path, value in changes.items():
        values = changed(path.replace("__", "."), value, values)
    return values


def stored(folder: Path, entries: tuple[Entry, ...], policy: Mapping[str, object]) -> Path:
    """Return the path of a policy beside the file of reference values that it names."""
    (folder / "values.json").write_bytes(plain.write(entries))
    path = folder / "policy.toml"
    path.write_text(toml(policy))
    return path


FILE = {"file": "values.json"}


def of(entries: tuple[Entry, ...], register: str, **environment: object) -> bytes:
    """Return the one digest of a register in an environment."""
    (found,) = (
        entry.digest
        for entry in entries
        if entry.register == register and environment.items() <= entry.environment.items()
    )
    return found


# --- a unified kernel image, by `shim verify` itself


UKI = uki.image(pe.stub(), Parts(KERNEL, INITRD, LINE, b"ID=shim\n"))
OF_UKI = reference_values.of_uki(UKI, LABEL)
MEASURED = {4: of(OF_UKI, "pcr4", secure_boot="off"), 9: of(OF_UKI, "pcr9"), 11: of(OF_UKI, "pcr11")}


def verified(folder: Path, fake: Tpm, pcr4: object) -> tuple[int, str]:
    values = example("tpm", binding="exact", ak__key=[fake.spki().hex()], ak__root="unchecked")
    for register, value in (("pcr4", pcr4), ("pcr9", FILE), ("pcr11", FILE)):
        values = changed(f"pcrs.{register}", value, values)
    path = stored(folder, OF_UKI, values)
    (folder / "evidence.json").write_bytes(fake.evidence())
    arguments = [str(folder / "evidence.json"), "--policy", str(path), "--report-data", "00" * 64]
    done = CliRunner().invoke(verify.command, [*arguments, "--at", aws.NOW.isoformat(), "--no-store"])
    assert done.exception is None or isinstance(done.exception, SystemExit | AppraisalError), done.exception
    code = done.exception.exit_code if isinstance(done.exception, AppraisalError) else done.exit_code
    return code, done.output


def test_shim_verify_accepts_the_registers_of_an_image(tmp_path: Path) -> None:
    code, output = verified(tmp_path, Tpm(measured=MEASURED), {**FILE, "select": {"secure_boot": "off"}})
    assert code == 0, output
    assert "verdict: affirming" in output
    assert "values.json" in output
    assert verified(tmp_path, Tpm(measured=MEASURED), FILE)[0] == 0


@pytest.mark.parametrize("number", MEASURED)
def test_shim_verify_refuses_any_other_register(tmp_path: Path, number: int) -> None:
    other = Tpm(measured={**MEASURED, number: bytes(32)})
    assert verified(tmp_path, other, FILE)[0] == Verdict.POLICY_MISMATCH.exit_code


def test_the_state_of_secure_boot_is_told_apart(tmp_path: Path) -> None:
    assert of(OF_UKI, "pcr4", secure_boot="on") != MEASURED[4]
    select = {**FILE, "select": {"secure_boot": "on"}}
    assert verified(tmp_path, Tpm(measured=MEASURED), select)[0] == Verdict.POLICY_MISMATCH.exit_code


def test_a_stub_that_calls_the_kernel_itself_has_one_value() -> None:
    newer = UKI.replace(b"systemd-stub 257", b"systemd-stub 258")
    entries = reference_values.of_uki(newer, LABEL, ("tpm", "azure-snp"))
    assert [(entry.tee, entry.register) for entry in entries] == [
        (tee, register) for tee in ("tpm", "azure-snp") for register in ("pcr4", "pcr9", "pcr11")
    ]
    assert not any(entry.environment for entry in entries)
    assert plain.parse(plain.write(entries), "it").entries == entries


def test_a_changed_part_changes_its_registers() -> None:
    for parts, different in (
        (Parts(KERNEL, INITRD + b"x", LINE, b"ID=shim\n"), {"pcr4", "pcr9", "pcr11"}),
        (Parts(KERNEL, INITRD, LINE + " x", b"ID=shim\n"), {"pcr4", "pcr9", "pcr11"}),
        (Parts(kernel(text=b"x" * 99), INITRD, LINE, b"ID=shim\n"), {"pcr4", "pcr11"}),
        (Parts(KERNEL, INITRD, LINE, b"ID=other\n"), {"pcr4", "pcr9", "pcr11"}),
    ):
        found = reference_values.of_uki(uki.image(pe.stub(), parts), LABEL)
        pairs = zip(OF_UKI, found, strict=True)
        assert {before.register for before, after in pairs if before.digest != after.digest} == different


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"", PeError),
        (pe.stub(), UkiError),
        (UKI.replace(b"systemd-stub 257", b"systemd-stub 999"), UkiError),
        (UKI.replace(b"systemd-stub", b"another-stub"), UkiError),
        (uki.image(pe.stub(), Parts(KERNEL, INITRD, "", b"ID=shim\n")), UkiError),
    ],
)
def test_images_of_which_no_register_follows(image: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        reference_values.of_uki(image, LABEL)


# --- SEV-SNP


OF_SNP = reference_values.of_snp(FIRMWARE, BOOT, LAUNCHES, LABEL)
AMD, CHIP = Amd(), Chip()


def judged_snp(folder: Path, measurement: bytes, select: Mapping[str, object]) -> AttestationResult:
    named = {**FILE, "select": dict(select)} if select else FILE
    path = stored(folder, OF_SNP, changed("report.measurement", named, STRICT))
    return appraise(
        CHIP.report(5, MEASUREMENT=measurement),
        AMD.endorsements(CHIP, lists=[AMD.crl()]),
        load_policy(path),
        binding=Exact(bytes(range(64))),
        now=amd.NOW,
        roots=AMD.roots,
    )


def test_each_launch_has_its_digest_and_is_accepted(tmp_path: Path) -> None:
    assert len({entry.digest for entry in OF_SNP}) == len(LAUNCHES)
    for entry in OF_SNP:
        for select in ({}, entry.environment):
            result = judged_snp(tmp_path, entry.digest, select)
            assert result.claims is not None
            assert result.claims["reference"] == LABEL


def test_another_launch_is_refused(tmp_path: Path) -> None:
    two = of(OF_SNP, "measurement", vcpus=2, vcpu_type="EPYC-v4")
    other = reference_values.of_snp(FIRMWARE, DirectBoot(KERNEL, INITRD, b"x"), LAUNCHES, LABEL)
    cases: list[tuple[bytes, Mapping[str, object]]] = [
        (two, {"vcpus": 4}),
        (two, {"vcpu_type": "EPYC-Milan"}),
        (of(other, "measurement", vcpus=2, vcpu_type="EPYC-v4"), {}),
    ]
    for measurement, select in cases:
        with pytest.raises(AppraisalError) as caught:
            judged_snp(tmp_path, measurement, select)
        assert [mismatch.field for mismatch in caught.value.mismatches] == ["report.measurement"]


def test_every_part_is_in_the_launch_digest() -> None:
    for boot in (
        DirectBoot(KERNEL + b"x", INITRD, BOOT.command_line),
        DirectBoot(KERNEL, INITRD + b"x", BOOT.command_line),
        DirectBoot(KERNEL, INITRD, BOOT.command_line + b"x"),
    ):
        found = reference_values.of_snp(FIRMWARE, boot, LAUNCHES[:1], LABEL)
        assert found[0].digest != OF_SNP[0].digest


@pytest.mark.parametrize(
    ("firmware", "boot", "error"),
    [
        (b"", BOOT, FirmwareError),
        (ovmf.firmware(entries={ovmf.HASHES: None}), BOOT, KernelHashesError),
        (ovmf.firmware(entries={ovmf.HASHES: bytes(8)}), BOOT, KernelHashesError),
        (FIRMWARE, DirectBoot(KERNEL, INITRD, b"a\0b"), LaunchParameterError),
    ],
)
def test_firmware_that_would_boot_any_kernel_is_refused(
    firmware: bytes, boot: DirectBoot, error: type[Exception]
) -> None:
    with pytest.raises(error):
        reference_values.of_snp(firmware, boot, LAUNCHES, LABEL)


# --- TDX


OF_TDX = reference_values.of_tdx(BOOT, LABEL, FIRMWARE)
# Of a report of TDX 1.5, in bytes.
PLACES = {"mr_td": 136, "rtmr1": 376, "rtmr2": 424}


def judged_tdx(folder: Path, **different: bytes) -> AttestationResult:
    report = bytearray(intel.td())
    for entry in OF_TDX:
        place = PLACES[entry.register]
        report[place : place + 48] = different.get(entry.register, entry.digest)
    report[PLACES["rtmr1"] - 48 : PLACES["rtmr1"]] = bytes(48)
    fake = Intel(report=bytes(report))
    values = example("tdx", binding="exact", crl="unchecked", tcb__evaluation="unchecked")
    values = changed("report.rtmr0", ["00" * 48], values)
    for name in PLACES:
        values = changed(f"report.{name}", FILE, values)
    policy = load_policy(stored(folder, OF_TDX, values))
    options: dict[str, Any] = {"binding": Exact(bytes(64)), "now": intel.NOW, "roots": fake.roots()}
    return appraise(fake.quote(), fake.endorsements(), policy, **options)


def test_a_trust_domain_with_these_registers_is_accepted(tmp_path: Path) -> None:
    assert judged_tdx(tmp_path).verdict is Verdict.AFFIRMING


@pytest.mark.parametrize("register", PLACES)
def test_a_trust_domain_with_another_register_is_refused(tmp_path: Path, register: str) -> None:
    with pytest.raises(AppraisalError) as caught:
        judged_tdx(tmp_path, **{register: b"\1" * 48})
    assert [mismatch.field for mismatch in caught.value.mismatches] == [f"report.{register}"]


def test_without_firmware_only_what_is_booted_is_known() -> None:
    assert [entry.register for entry in reference_values.of_tdx(BOOT, LABEL)] == ["rtmr1", "rtmr2"]
    assert reference_values.of_tdx(BOOT, LABEL) == OF_TDX[1:]


def test_what_no_trust_domain_measures_is_refused() -> None:
    for boot, firmware, error in (
        (DirectBoot(b"no PE", INITRD, b""), None, PeError),
        (DirectBoot(KERNEL, INITRD, b"\xff"), None, LaunchParameterError),
        (BOOT, ovmf.firmware(entries={ovmf.TDX: None}), FirmwareError),
    ):
        with pytest.raises(error):
            reference_values.of_tdx(boot, LABEL, firmware)


# --- Nitro


OF_EIF = reference_values.of_eif(ENCLAVE, LABEL)


def judged_nitro(folder: Path, **different: bytes) -> AttestationResult:
    pcrs = dict(MEMBERS["pcrs"])
    for number in range(3):
        pcrs[number] = different.get(f"pcr{number}", of(OF_EIF, f"pcr{number}"))
    values = example("nitro", binding="exact", crl="unchecked")
    for number in range(3):
        values = changed(f"document.pcr{number}", FILE, values)
    policy = load_policy(stored(folder, OF_EIF, values))
    options: dict[str, Any] = {"binding": Exact(bytes(64)), "now": aws.NOW, "roots": aws.roots()}
    return appraise(
        Nitro(members={"pcrs": pcrs}).document(), Endorsements(revocation_lists=ALL_LISTS), policy, **options
    )


def test_an_enclave_with_these_registers_is_accepted(tmp_path: Path) -> None:
    result = judged_nitro(tmp_path)
    assert result.claims is not None
    assert result.claims["reference"] == LABEL


@pytest.mark.parametrize("register", ["pcr0", "pcr1", "pcr2"])
def test_an_enclave_with_another_register_is_refused(tmp_path: Path, register: str) -> None:
    with pytest.raises(AppraisalError) as caught:
        judged_nitro(tmp_path, **{register: b"\1" * 48})
    assert [mismatch.field for mismatch in caught.value.mismatches] == [f"document.{register}"]


def test_a_damaged_enclave_image_has_no_reference_values() -> None:
    with pytest.raises(EifError):
        reference_values.of_eif(ENCLAVE[:-1], LABEL)


# --- the file


def test_all_of_them_stand_in_one_file() -> None:
    entries = (*OF_UKI, *OF_SNP, *OF_TDX, *OF_EIF)
    assert plain.parse(plain.write(entries), "it").entries == entries
