"""`shim measure` as a user meets it: files in, text and exit code out, and lines that a policy takes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from attestation import policy
from attestation.azure.policy import AzurePolicy
from attestation.intel.policy import TdxPolicy
from attestation.snp.policy import SnpPolicy
from images.measure import firmware, kernel_hashes, snp, tdx
from shim.cli import measure
from shim.errors import ShimError
from tests.fakes import ovmf, pe

EXAMPLES = Path(__file__).resolve().parents[3] / "attestation" / "examples"
TYPE = ("--vcpu-type", "EPYC-v4")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Return exit code, standard output and message, as the program's top level makes them."""
    result = CliRunner().invoke(measure.command, [str(argument) for argument in arguments])
    if isinstance(result.exception, ShimError):
        return getattr(result.exception, "exit_code", 1), result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def files(tmp_path: Path) -> Path:
    contents = {
        "OVMF.fd": ovmf.firmware(),
        "vmlinuz": pe.image([(".text", b"kernel")]),
        "initrd": b"initrd",
        "uki.efi": pe.uki(),
        "empty-area.fd": ovmf.firmware(entries={ovmf.HASHES: bytes(8)}),
        "no-metadata.fd": ovmf.firmware(entries={ovmf.SEV: None, ovmf.TDX: None}),
        "large.fd": bytes((1 << 24) + 4096),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_snp_prints_one_digest_for_each_number_of_processors(files: Path) -> None:
    arguments = (
        "snp",
        "--firmware",
        files / "OVMF.fd",
        "--kernel",
        files / "vmlinuz",
        "--initrd",
        files / "initrd",
    )
    code, output, _ = run(*arguments, "--cmdline", "a b", "--vcpus", "1", "--vcpus", "4", *TYPE)
    image = firmware.parse((files / "OVMF.fd").read_bytes())
    hashes = kernel_hashes.kernel_hashes((files / "vmlinuz").read_bytes(), b"initrd", b"a b")
    expected = [snp.launch_digest(image, snp.Launch(vcpus, 0x800F12), hashes).hex() for vcpus in (1, 4)]
    assert (code, output.splitlines()) == (0, expected)


@pytest.mark.parametrize("cpu", [("--vcpu-signature", "0x800f12"), ("--vcpu-cpuid", "23", "1", "2")])
def test_snp_takes_the_processor_in_three_ways(files: Path, cpu: tuple[str, ...]) -> None:
    arguments = ("snp", "--firmware", files / "OVMF.fd", "--vcpus", "2")
    assert run(*arguments, *cpu) == run(*arguments, *TYPE)
    assert run(*arguments, *cpu)[0] == 0


def test_snp_takes_the_digest_of_the_firmware_for_its_pages(files: Path) -> None:
    arguments = ("snp", "--firmware", files / "OVMF.fd", "--vcpus", "1", *TYPE)
    known = snp.firmware_digest(firmware.parse((files / "OVMF.fd").read_bytes())).hex()
    assert run(*arguments, "--firmware-digest", known) == run(*arguments)
    assert run(*arguments, "--firmware-digest", "ab" * 48) != run(*arguments)
    assert run(*arguments, "--firmware-digest", "ab")[0] == 2


def test_snp_prints_json_with_what_each_digest_is_of(files: Path) -> None:
    code, output, _ = run(
        "snp", "--firmware", files / "OVMF.fd", "--vcpus", "3", "--vmm", "ec2", "--format", "json"
    )
    (value,) = json.loads(output)["measurement"]
    assert (code, value["label"]) == (0, "ec2, vCPUs 3, guest features 0x1, firmware OVMF.fd")
    assert len(value["digest"]) == 96


def replaced(example: str, section: str, lines: str) -> str:
    """Return the text of an example policy with lines of a section replaced by those of the same keys."""
    text = (EXAMPLES / example).read_text()
    start = text.index(f"[{section}]")
    end = text.find("\n[", start)
    kept, skipping = [], False
    for line in text[start:end].splitlines()[1:]:
        key = line.split(" = ")[0].strip()
        if key in tomllib.loads(lines):
            skipping = line.split("#")[0].rstrip().endswith("[")
        elif not skipping:
            kept.append(line)
        elif line.strip() == "]":
            skipping = False
    return text[:start] + f"[{section}]\n" + lines + "\n".join(kept) + text[end:]


def test_lines_for_snp_are_those_of_a_policy(files: Path) -> None:
    strange = files / 'OVMF "x" \\ ü😀.fd'
    strange.write_bytes((files / "OVMF.fd").read_bytes())
    _, lines, _ = run("snp", "--firmware", strange, "--vcpus", "1", "--vcpus", "2", *TYPE, "--format", "toml")
    rules = policy.load(replaced("policy-snp.toml", "report", lines), "policy").rules
    assert isinstance(rules, SnpPolicy)
    expected = run("snp", "--firmware", strange, "--vcpus", "1", "--vcpus", "2", *TYPE)[1].split()
    assert [value.digest.hex() for value in rules.measurement] == expected
    assert rules.measurement[0].label.endswith('firmware OVMF "x" \\ ü😀.fd')


def test_lines_for_tdx_are_those_of_a_policy(files: Path) -> None:
    arguments = ("tdx", "--firmware", files / "OVMF.fd", "--kernel", files / "vmlinuz", "--format", "toml")
    _, lines, _ = run(*arguments)
    rules = policy.load(replaced("policy-tdx.toml", "report", lines), "policy").rules
    assert isinstance(rules, TdxPolicy)
    assert rules.mr_td[0].digest == tdx.mrtd(firmware.parse((files / "OVMF.fd").read_bytes()))
    assert rules.rtmrs[1] == {tdx.rtmr1((files / "vmlinuz").read_bytes())}


def test_lines_for_registers_are_those_of_a_policy(files: Path) -> None:
    arguments = ("pcr", files / "uki.efi", "--secure-boot", "off")
    _, lines, _ = run(*arguments, "--format", "toml")
    rules = policy.load(replaced("policy-azure-snp.toml", "pcrs", lines), "policy").rules
    assert isinstance(rules, AzurePolicy)
    printed = dict(line.split() for line in run(*arguments)[1].splitlines())
    for number in (4, 9, 11, 12):
        assert rules.pcrs[number] == {bytes.fromhex(printed[f"pcr{number}"])}


def test_tdx_predicts_rtmr0_only_from_all_that_the_monitor_made(files: Path) -> None:
    arguments = ("tdx", "--firmware", files / "OVMF.fd")
    given = [f"--{name}={files / 'initrd'}" for name in ("td-hob", "acpi-loader", "acpi-rsdp", "acpi-tables")]
    assert [line.split()[0] for line in run(*arguments)[1].splitlines()] == ["mr_td"]
    assert [line.split()[0] for line in run(*arguments, *given)[1].splitlines()] == ["mr_td", "rtmr0"]
    assert run(*arguments, *given)[1] != run(*arguments, *given, "--boot-variables", "first")[1]
    for number in range(4):
        code, _, message = run(*arguments, *given[:number], *given[number + 1 :])
        assert (code, "want all or none of --td-hob" in message) == (2, True)


def test_pcr_depends_on_what_it_is_told(files: Path) -> None:
    arguments = ("pcr", files / "uki.efi", "--secure-boot", "on")
    outputs = [
        run(*arguments, *more)[1].split() for more in ((), ("--phase", "enter-initrd"), ("--options", "a"))
    ]
    names = ("pcr4", "pcr9", "pcr11", "pcr12")
    changed = [
        {name for name, a, b in zip(names, outputs[0][1::2], other[1::2], strict=True) if a != b}
        for other in outputs[1:]
    ]
    assert changed == [{"pcr11"}, {"pcr9", "pcr12"}]
    assert len(run(*arguments, "--bank", "sha384")[1].split()[1]) == 96
    assert run(*arguments, "--bank", "sha384", "--format", "toml")[0] == 2


def test_id_block_prints_what_qemu_takes(files: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    (files / "id.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    code, output, _ = run(
        "id-block", "--measurement", "ab" * 48, "--id-key", files / "id.pem", "--guest-svn", "3"
    )
    facts = dict(line.split() for line in output.splitlines())
    assert (code, len(base64.b64decode(facts["id-auth"]))) == (0, 4096)
    assert base64.b64decode(facts["id-block"])[:48] == b"\xab" * 48
    assert facts["author_key_digest"] == "00" * 48


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("snp", "--firmware", "empty-area.fd", "--kernel", "vmlinuz", "--vcpus", "1", *TYPE),
            1,
            "else no kernel is measured",
        ),
        (("snp", "--firmware", "no-metadata.fd", "--vcpus", "1", *TYPE), 1, "found no SEV metadata"),
        (("snp", "--firmware", "vmlinuz", "--vcpus", "1", *TYPE), 1, "whole pages"),
        (
            ("snp", "--firmware", "large.fd", "--vcpus", "1", *TYPE),
            1,
            "found 16781312 bytes, want at most 16777216",
        ),
        (("snp", "--firmware", "/dev/zero", "--vcpus", "1", *TYPE), 1, "more than 16777216 bytes"),
        (("snp", "--firmware", "nowhere", "--vcpus", "1", *TYPE), 2, "does not exist"),
        (("snp", "--firmware", ".", "--vcpus", "1", *TYPE), 2, "is a directory"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "0", *TYPE), 2, "0 is not in the range"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "4097", *TYPE), 2, "4097 is not in the range"),
        (("snp", "--firmware", "OVMF.fd", *TYPE), 2, "Missing option '--vcpus'"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", "--vcpu-type", "EPYC-v99"), 2, "'EPYC-v4', "),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1"), 2, "want one of --vcpu-type"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", *TYPE, "--vcpu-signature", "1"), 2, "want one of"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", "--vcpu-signature", "x"), 2, "want a number"),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", "--vcpu-signature", "-1"), 1, "32 bits"),
        (
            ("snp", "--firmware", "OVMF.fd", "--vcpus", "1", "--vcpu-cpuid", "25", "1", "16"),
            1,
            "vCPU stepping",
        ),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", *TYPE, "--vmm", "xen"), 2, "'qemu', 'ec2', 'gce'"),
        (
            ("snp", "--firmware", "OVMF.fd", "--vcpus", "1", *TYPE, "--initrd", "initrd"),
            2,
            "without --kernel",
        ),
        (("snp", "--firmware", "OVMF.fd", "--vcpus", "1", *TYPE, "--cmdline", "a"), 2, "without --kernel"),
        (("tdx", "--firmware", "no-metadata.fd"), 1, "found no TDX metadata"),
        (("tdx", "--firmware", "OVMF.fd", "--kernel", "initrd"), 1, "no MZ at its beginning"),
        (("tdx", "--firmware", "OVMF.fd", "--kernel", "vmlinuz", "--patched-for", "512"), 1, "no HdrS"),
        (("tdx", "--firmware", "OVMF.fd", "--patched-for", "512"), 2, "without --kernel"),
        (("tdx", "--firmware", "OVMF.fd", "--kernel", "vmlinuz", "--cmdline", "ä"), 1, "ASCII"),
        (("pcr", "uki.efi"), 2, "Missing option '--secure-boot'"),
        (("pcr", "vmlinuz", "--secure-boot", "on"), 1, r"section .linux: found no such section"),
        (("pcr", "initrd", "--secure-boot", "on"), 1, "no MZ at its beginning"),
        (("id-block", "--measurement", "ab" * 48, "--id-key", "initrd"), 1, "no private key"),
        (("id-block", "--measurement", "ab", "--id-key", "initrd"), 2, "want 48"),
    ],
)
def test_what_is_wrong_is_said(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(files)
    found, output, said = run(*arguments)
    assert (found, output) == (code, "")
    assert message in said


def test_pipe_is_refused_without_waiting(files: Path) -> None:
    os.mkfifo(files / "pipe")
    code, _, message = run("snp", "--firmware", files / "pipe", "--vcpus", "1", *TYPE)
    assert (code, "found a pipe or a socket, want a file" in message) == (1, True)


def test_help_starts_no_cryptography() -> None:
    script = "import sys\nfrom shim.cli.main import run\nrun(['measure', '--help'])\nassert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=30)


def test_empty_kernel_is_measured_as_such(files: Path) -> None:
    """The recorded cases of sev-snp-measure boot /dev/null."""
    arguments = ("snp", "--firmware", files / "OVMF.fd", "--vcpus", "1", *TYPE, "--kernel", "/dev/null")
    image = firmware.parse((files / "OVMF.fd").read_bytes())
    expected = snp.launch_digest(image, snp.Launch(1, 0x800F12), kernel_hashes.kernel_hashes(b""))
    assert run(*arguments, "--initrd", "/dev/null", "--cmdline", "")[1] == f"{expected.hex()}\n"
