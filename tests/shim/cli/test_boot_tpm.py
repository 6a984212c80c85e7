"""
Measured boots: OVMF, a TPM in software, a unified kernel image, and a relying party that asks it for a proof.

Two machines are booted.  What the first one showed is then held against what images would be expected to show that
differ from it in one thing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from attestation import endorsements
from attestation.appraise import appraise
from attestation.binding import Shim
from attestation.certificate import read_certificate
from attestation.errors import ActivationError, AppraisalError
from attestation.result import AttestationResult
from attestation.tpm import evidence
from attestation.tpm.credential import Target
from attestation.verdict import Verdict
from images.boot.choice import Technology
from images.boot.initramfs import replaced, unpacked
from images.measure import uki as unified
from images.reference_values import of_uki
from images.uki import Parts, image
from shim.cli.boot_image import PLAN, BootImage, Trust, load
from shim.cli.boot_policy import policy_of
from shim.launch.plan_codec import encode
from tests import guest, measured_boot
from tests.fakes.channel import SECRET, SIGNING_KEY
from tests.shim.cli.test_boot_machine import PROGRAM_SAYS, ROOT, Done, Images

PACKAGES = "apt install ovmf swtpm swtpm-tools systemd-boot-efi"
BOOT = ("boot", "--tpm", "--by", "tcg", "--timeout", "400", "--console", "console", "--key", "rp.key", "--secret", "secret")  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What a machine showed, and what is known of it: the words of `shim verify` that the boot printed."""

    done: Done
    console: str
    folder: Path
    words: list[str]

    def word(self, option: str) -> bytes:
        return bytes.fromhex(self.words[self.words.index(option) + 1])

    @property
    def evidence(self) -> bytes:
        return (self.folder / "evidence").read_bytes()

    @property
    def binding(self) -> Shim:
        return Shim(self.word("--nonce"), self.word("--public-key"), self.word("--plan-digest"))

    @property
    def target(self) -> Target:
        parsed = evidence.parse(self.evidence)
        assert parsed.endorsement is not None
        return Target(parsed.endorsement.key, parsed.key.name)

    def judge(self, expected: BootImage, *, activated: bool = True, **changed: object) -> AttestationResult:
        maker = endorsements.parse((self.folder / "maker.pem").read_bytes())
        root = read_certificate(maker.certificates[1]).key_sha256
        given = {
            "binding": self.binding,
            "event_log": (self.folder / "event.log").read_bytes(),
            "activated": self.target if activated else None,
            **changed,
        }
        policy = policy_of(Technology.TCG, of_uki(expected.program, "expected"), None, root)
        return appraise(self.evidence, maker, policy, now=datetime.now(UTC), **given)  # type: ignore[arg-type]

    def refused(self, expected: BootImage, **changed: object) -> dict[str, Verdict]:
        with pytest.raises(AppraisalError) as caught:
            self.judge(expected, **changed)  # type: ignore[arg-type]
        assert str(caught.value).startswith("SOFTWARE TPM: ")
        return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    missing = measured_boot.lacking() + ([] if shutil.which("swtpm_setup") else ["swtpm_setup"])
    if missing:
        pytest.skip(f"no {', '.join(missing)} ({PACKAGES})")
    folder = tmp_path_factory.mktemp("tpm")
    for name in ("secret_program", "first_program"):
        source = ROOT / "tests" / "probes" / f"{name}.c"
        subprocess.run(["musl-gcc", "-static", "-O1", "-s", source, "-o", folder / name], check=True)
    pem = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "rp.key").write_bytes(pem)
    public = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "rp.pub").write_bytes(public)
    (folder / "secret").write_bytes(SECRET)
    made = Images(folder, guest.kernel())
    made.build("machine.efi", "3", "machine", form="uki", options=("--evidence", "tpm"))
    return made


@pytest.fixture(scope="module")
def booted(images: Images) -> BootImage:
    return load(images.folder / "machine.efi", None, "", Trust(None, ()))


@pytest.fixture(scope="module")
def shown(images: Images) -> Shown:
    done = images.shim(*BOOT, "--keep", "kept", "machine.efi")
    kept = [line for line in done.lines if line.startswith("shim: kept: shim verify ")]
    assert kept, (done.lines, images.console[-2000:])
    return Shown(done, images.console, images.folder / "kept", kept[0].split()[4:])


def test_a_machine_gets_its_secret_for_what_its_tpm_says(images: Images, shown: Shown) -> None:
    done = shown.done
    assert (done.code, done.out.splitlines()[:4]) == (7, PROGRAM_SAYS), done.lines
    assert done.said("SOFTWARE TPM: this host runs it, and can make it say anything")
    assert done.said("SOFTWARE TPM evidence affirmed: ")
    recorded = json.loads((images.folder / "machine.efi.json").read_text())["values"]
    for value in recorded:
        assert done.said(f"expected {value['register']} sha-256:{value['digest']}")
    assert {value["register"] for value in recorded} == {"pcr4", "pcr9", "pcr11"}
    assert SECRET.decode() not in shown.console + "\n".join(done.lines)


def test_its_evidence_is_affirmed_again_and_its_log_explains_it(shown: Shown, booted: BootImage) -> None:
    result = shown.judge(booted)
    assert (result.verdict, result.label) == (Verdict.AFFIRMING, "SOFTWARE TPM")
    assert result.claims is not None
    log, maker = result.claims["event_log"], result.claims["ek"]
    assert isinstance(log, dict)
    assert isinstance(maker, dict)
    assert {"pcr4", "pcr9", "pcr11"} <= set(log["explained"])  # type: ignore[arg-type]
    assert (maker["model"], maker["software"]) == ("swtpm", True)


def test_without_a_proof_it_is_not(shown: Shown, booted: BootImage) -> None:
    with pytest.raises(ActivationError):
        shown.judge(booted, activated=False)


def _kernel(found: BootImage) -> BootImage:
    changed = bytearray(found.kernel)
    changed[len(changed) // 2] ^= 1
    return replace(found, kernel=bytes(changed))


def _initrd(found: BootImage) -> BootImage:
    return replace(found, initrd=found.initrd + bytes(512))


def _command_line(found: BootImage) -> BootImage:
    return replace(found, command_line=f"{found.command_line} loglevel=4")


def _program(found: BootImage) -> BootImage:
    archive = unpacked(found.initrd, "initrd")
    return replace(found, initrd=replaced(archive, b"program", b"\x7fELF another", "initrd"))


def _plan(found: BootImage) -> BootImage:
    plan = encode(replace(found.planned(), argv=(b"/program", b"4")))
    archive = unpacked(found.initrd, "initrd")
    return replace(found, initrd=replaced(archive, PLAN, plan, "initrd"))


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (_kernel, {"pcrs.pcr4", "pcrs.pcr11"}),
        (_initrd, {"pcrs.pcr4", "pcrs.pcr9", "pcrs.pcr11"}),
        (_command_line, {"pcrs.pcr4", "pcrs.pcr9", "pcrs.pcr11"}),
        (_program, {"pcrs.pcr4", "pcrs.pcr9", "pcrs.pcr11"}),
        (_plan, {"pcrs.pcr4", "pcrs.pcr9", "pcrs.pcr11"}),
    ],
)
def test_who_expects_another_image_refuses_it(
    shown: Shown, booted: BootImage, change: Callable[[BootImage], BootImage], moved: set[str]
) -> None:
    changed = change(booted)
    sections = unified.parse(booted.program).sections
    parts = Parts(
        changed.kernel, changed.initrd, changed.command_line, sections.get(".osrel", b"").rstrip(b"\0")
    )
    same = replace(parts, kernel=booted.kernel, initrd=booted.initrd, command_line=booted.command_line)
    stub = measured_boot.STUB.read_bytes()
    assert image(stub, same) == booted.program  # so that one thing differs, and no more
    expected = replace(changed, program=image(stub, parts))
    assert shown.refused(expected) == dict.fromkeys(moved, Verdict.POLICY_MISMATCH)


def test_another_question_or_log_is_refused(shown: Shown, booted: BootImage) -> None:
    bound = shown.binding
    for other in (
        replace(bound, nonce=bytes(32)),
        replace(bound, public_key=bytes(range(32))),
        replace(bound, plan_digest=bytes(32)),
    ):
        assert shown.refused(booted, binding=other) == {"report.report_data": Verdict.WRONG_BINDING}
    log = bytearray((shown.folder / "event.log").read_bytes())
    at = log.index(bytes.fromhex(shown_digest(shown, "pcr4")))
    log[at] ^= 1
    assert shown.refused(booted, event_log=bytes(log)) == {"event log.pcr4": Verdict.NOT_AUTHENTIC}


def shown_digest(shown: Shown, register: str) -> str:
    """The digest of the last event in a register that the log has."""
    from attestation.eventlog.log import parse  # noqa: PLC0415

    events = parse((shown.folder / "event.log").read_bytes()).events
    number = int(register.removeprefix("pcr"))
    return [one.digests["sha256"].hex() for one in events if one.register == number and one.digests][-1]


def test_shim_verify_takes_it_for_a_key_that_was_looked_at(images: Images, shown: Shown) -> None:
    maker = ("--endorsements", "kept/maker.pem")
    drafted = images.shim("policy", "init", "kept/evidence", "--tee", "tpm", *maker, "-o", "policy.toml")
    assert drafted.code == 0, drafted.lines
    done = images.shim("verify", *shown.words, "--policy", "policy.toml")
    assert done.code == 0, (done.out, done.lines)
    assert b"SOFTWARE TPM: whoever runs it can make it say anything" in done.out
    policy = (images.folder / "policy.toml").read_text()
    (images.folder / "policy.toml").write_text(
        policy.replace('activation = "unchecked"', 'activation = "required"')
    )
    asked = images.shim("verify", *shown.words, "--policy", "policy.toml")
    assert (asked.code, b"ek.activation" in asked.out) == (14, True)


def test_a_machine_with_another_program_is_refused(images: Images) -> None:
    options = ("--evidence", "tpm")
    images.build("other.efi", "refused", "169", form="uki", options=options, program="first_program")
    done = images.shim(*BOOT, "--reference-values", "machine.efi.json", "other.efi")
    assert (done.code, done.out) == (125, b"")
    for register in ("pcr4", "pcr9", "pcr11"):
        assert done.said(f"SOFTWARE TPM evidence: pcrs.{register}: found ")
    assert not done.said("ek.activation")
    assert done.said("nothing was released: the appraisal ended as policy mismatch")
    assert done.said("guest: refusal: found 17, want a release")


def test_what_a_tpm_cannot_measure_is_refused_before_a_boot(images: Images) -> None:
    assert images.shim(*BOOT[:1], *BOOT[2:], "machine.efi").said("found a machine without one, want --tpm")
    assert images.shim(*BOOT[:2], "--url", "tcp://127.0.0.1:1", "machine.efi").said(
        "found --tpm beside --url"
    )
    images.build("machine.cpio", "3", "machine", options=("--evidence", "tpm"))
    done = images.shim(*BOOT, "--kernel", images.kernel, "machine.cpio")
    assert (done.code, done.said("found an initramfs for a machine with a TPM")) == (125, True)
    images.build("plain.efi", "3", "machine", form="uki")
    assert images.shim(*BOOT, "plain.efi").said(
        "found --tpm, want an image that was built with --evidence tpm"
    )
