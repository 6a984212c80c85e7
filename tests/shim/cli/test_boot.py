"""`shim boot` as a user meets it before a machine is on: options, command lines, and what is refused."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from images.boot.initramfs import replaced
from images.content import Content
from images.cpio import cpio_bytes
from images.measure.id_block import IdBlock
from images.tree import Entry, Reason, Tree
from shim.cli import main
from shim.cli.boot_console import Console
from shim.cli.boot_report import in_words
from shim.launch.machine import Channel, ChannelKind, EvidenceKind
from shim.launch.plan import LaunchPlan
from shim.launch.plan_codec import encode
from tests.fakes import bzimage, ovmf, qemu
from tests.fakes.channel import SECRET, SIGNING_KEY
from tests.fakes.qemu import Guest
from tests.native.conftest import guest_build, native_build  # noqa: F401  # fixtures
from tests.native.simulating import ends, reports, says

CHANNEL = Channel(
    ChannelKind.VIRTIO,
    EvidenceKind.SIMULATED,
    SIGNING_KEY.public_key().public_bytes_raw(),
    name=b"shim.channel",
)


@pytest.fixture(scope="module")
def plan() -> LaunchPlan:
    """A plan that nobody launches here, of a program that is there everywhere."""
    from shim.analysis.derive import derive  # noqa: PLC0415
    from shim.elf.files import RootedFiles  # noqa: PLC0415
    from shim.elf.image import parse_elf  # noqa: PLC0415
    from shim.launch.compose import compose  # noqa: PLC0415
    from shim.launch.layout import layout_of  # noqa: PLC0415

    path = str(Path(__file__).resolve().parents[3] / "shim" / "launch" / "shim-launch")
    data = Path(path).read_bytes()
    profile = derive(data, path)
    image = parse_elf(data, path)
    layout = layout_of(profile, image, RootedFiles("/").read)
    return compose(profile, path, ("/program",), {}, allow_incomplete=True, layout=layout)


class Place:
    """A folder with a kernel, images of one plan, and a stand-in for QEMU."""

    def __init__(self, folder: Path, plan: LaunchPlan, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.plan, self.capfd, self.guest = folder, plan, capfd, Guest()
        (folder / "kernel").write_bytes(bzimage.kernel())
        (folder / "secret").write_bytes(SECRET)
        pem = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "rp.key").write_bytes(pem)
        self.image()

    def image(self, **changes: Any) -> bytes:  # noqa: ANN401
        """Write the image of the plan with these changes, and return its plan's digest."""
        plan = encode(replace(self.plan, **changes))
        entry = Entry.file(b"/shim/plan", Content.of(plan), Reason("test"))
        (self.folder / "image").write_bytes(cpio_bytes(Tree.of([entry]), 0))
        return hashlib.sha256(plan).digest()

    def __call__(self, *options: str, kernel: bool = True, key: bool = False) -> tuple[int, str, str]:
        qemu.write(self.folder / "qemu", self.guest)
        words = [*(("--kernel", "kernel") if kernel else ()), "--qemu", str(self.folder / "qemu")]
        words += ["--key", str(self.folder / "rp.key")] if key else []
        named = [str(self.folder / word) if word in {"kernel", "secret", "image"} else word for word in words]
        given = [
            str(self.folder / one) if (self.folder / one).is_file() and "/" not in one else one
            for one in options
        ]
        code = main.run(["boot", *named, *given])
        out, errors = self.capfd.readouterr()
        return code, out, errors


@pytest.fixture
def place(tmp_path: Path, plan: LaunchPlan, capfd: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, plan, capfd)


def test_the_command_line_is_printed_for_a_shell_and_nothing_starts(place: Place) -> None:
    place.guest = Guest(behaviour="sleeps")
    code, out, errors = place("--dry-run", "--memory", "300", "--cpus", "2", "--by", "tcg", "image")
    words = shlex.split(out)
    assert code == 0
    assert words[0].endswith("/qemu")
    assert words[words.index("-m") + 1] == "300M"
    assert words[words.index("-kernel") + 1].endswith("/kernel")
    assert words[words.index("-append") + 1].startswith("rdinit=/shim/launch console=ttyS0 ")
    assert "virtserialport" not in out
    assert "TCG (an interpreter) by QEMU 7.2.22: as asked" in errors


def test_an_image_with_a_channel_has_two_ports(place: Place) -> None:
    place.image(channel=CHANNEL)
    _, out, _ = place("--dry-run", "--by", "tcg", "image", key=True)
    assert [word for word in shlex.split(out) if word.startswith("virtserialport")] == [
        "virtserialport,chardev=port0,name=shim.channel",
        "virtserialport,chardev=port1,name=shim.tee",
    ]


def test_snp_is_shown_with_hashes_and_an_id_block_and_said_not_to_have_run(place: Place) -> None:
    import base64  # noqa: PLC0415

    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (place.folder / "id.key").write_bytes(pem)
    (place.folder / "OVMF.fd").write_bytes(ovmf.firmware())
    place.image(channel=replace(CHANNEL, evidence=EvidenceKind.TSM))
    options = ("--dry-run", "--by", "snp", "--firmware", "OVMF.fd", "--id-key", "id.key", "image")
    code, out, errors = place(*options, key=True)
    assert code == 0, errors
    assert "it has not been run on such a host by us" in errors
    assert "this host could not start it (no /dev/sev)" in errors
    words = shlex.split(out)
    guest = next(word for word in words if word.startswith("sev-snp-guest,"))
    assert ",kernel-hashes=on," in guest
    block = base64.b64decode(guest.split("id-block=")[1].split(",")[0])
    assert len(block) == len(IdBlock(bytes(48)).encoded())
    assert block[:48] != bytes(48)
    assert words[words.index("-bios") + 1].endswith("OVMF.fd")
    assert "shim.tee" not in out


def test_tdx_is_shown_and_said_not_to_have_run(place: Place) -> None:
    (place.folder / "OVMF.fd").write_bytes(ovmf.firmware())
    place.image(channel=replace(CHANNEL, evidence=EvidenceKind.TSM))
    code, out, errors = place("--dry-run", "--by", "tdx", "--firmware", "OVMF.fd", "image", key=True)
    assert code == 0, errors
    assert "tdx-guest,id=tdx0" in out
    assert "it has not been run on such a host by us" in errors


REFUSED = {
    "no kernel": (("image",), {"kernel": False}, "found no kernel for it, want --kernel FILE"),
    "snp is not there": (("--by", "snp", "image"), {}, "found no /dev/sev, want a host with SEV-SNP"),
    "an author without an ID key": (("--author-key", "rp.key", "image"), {}, "want --id-key FILE beside it"),
    "an ID key under TCG": (("--id-key", "rp.key", "--by", "tcg", "image"), {}, "ID blocks are of SEV-SNP"),
    "a secret for nobody": (("--secret", "secret", "image"), {}, "found --secret and no relying party in it"),
    "a key for nobody": (("image",), {"key": True}, "found --key and no relying party in it"),
    "its own and another": (
        ("--url", "tcp://h:1", "--secret", "secret", "image"),
        {},
        "found --secret beside --url",
    ),
    "arguments and another": (("--url", "tcp://h:1", "image", "more"), {}, "found arguments beside --url"),
    "two expectations": (
        ("--policy", "rp.key", "--reference-values", "rp.key", "image"),
        {},
        "want one: what says what is expected?",
    ),
    "ports without a network": (("--publish", "1:2", "image"), {}, "want an image with a network"),
    "a policy for no layout": (("--image-policy", "rp.key", "image"), {}, "are for a folder with oci-layout"),
    "a processor": (("--vcpu-type", "Z80", "--by", "tcg", "image"), {}, "found 'Z80', want one of EPYC"),
    "a kernel as image": (("kernel",), {"kernel": False}, "unified kernel image"),
    "nonsense": (("secret",), {"kernel": False}, "want an initramfs, a unified kernel image, a disk or VHD"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_means_nothing_is_refused_before_anything_starts(place: Place, name: str) -> None:
    options, more, message = REFUSED[name]
    place.guest = Guest(behaviour="sleeps")
    code, out, errors = place(*options, **more)  # type: ignore[arg-type]
    assert code != 0
    assert message in errors
    assert out == ""


CHANNELS = {
    "another key": (
        {"relying_party": Ed25519PrivateKey.generate().public_key().public_bytes_raw()},
        (),
        "key of its relying party: found ",
    ),
    "vsock": ({"kind": ChannelKind.VSOCK, "name": b"", "cid": 2, "port": 9}, (), "found vsock, want virtio"),
    "evidence of hardware": (
        {"evidence": EvidenceKind.TSM},
        (),
        "found a machine by tcg, want SEV-SNP or TDX",
    ),
    "no such values": ({}, ("--reference-values", "empty.json"), "found no measurement of simulated"),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_that_nobody_can_answer_is_refused(place: Place, name: str) -> None:
    changes, options, message = CHANNELS[name]
    (place.folder / "empty.json").write_text('{"schema":"reference-values/1","values":[]}')
    place.image(channel=replace(CHANNEL, **changes))  # type: ignore[arg-type]
    code, _, errors = place("--by", "tcg", *options, "image", key=True)
    assert code == 125
    assert message in errors


def test_expected_values_need_the_key_that_the_image_has(place: Place) -> None:
    place.image(channel=CHANNEL)
    code, _, errors = place("--reference-values", "secret", "image")
    assert code != 0
    assert "found no --key" in errors


# With a guest behind the stand-in.


@pytest.fixture
def told(place: Place, guest_build: Callable[[str], Path]) -> Place:  # noqa: F811
    event = (
        b'{"event":"violation","syscall":169,"arch":3221225534,"address":"0x1","pid":7,"arguments":["0x2"]}'
    )
    story = (
        says(1, b"hello\n") + says(2, b"warning\n") + reports(event) + ends(159, b"a refused call ended it")
    )
    place.guest = Guest(
        simulator=str(guest_build("guest") / "guest-simulator"),
        plan=place.image(channel=CHANNEL).hex(),
        key=CHANNEL.relying_party.hex(),
        commands=story.hex(),
        secret=str(place.folder / "got"),
    )
    return place


def test_a_boot_is_told_line_by_line(told: Place) -> None:
    code, out, errors = told("--by", "tcg", "--secret", "secret", "image", key=True)
    assert (code, out) == (159, "hello\n")
    assert (told.folder / "got").read_bytes() == SECRET
    begin = (
        "shim: TCG (an interpreter) by QEMU 7.2.22: as asked",
        f"shim: {told.folder / 'image'}: plan sha256:{told.guest.plan}",
        "shim: expected SIMULATED measurement sha-384:",
        "shim: SIMULATED: this host plays the TEE",
        "shim: SIMULATED evidence affirmed: fresh nonce, this plan, this measurement; a secret of 23 bytes",
        "warning",
        "shim: violation: reboot [169](0x2) from 0x1, pid 7",
        "shim: the machine ended: a refused call ended it",
    )
    lines = errors.splitlines()
    assert len(lines) == len(begin)
    for line, start in zip(lines, begin, strict=True):
        assert line.startswith(start)


def test_kvm_that_fails_is_said_and_tcg_is_taken(told: Place) -> None:
    told.guest = replace(told.guest, kvm="fails")
    code, out, errors = told("--by", "kvm", "--secret", "secret", "-q", "image", key=True)
    assert (code, out) == (159, "hello\n")
    assert "QEMU: qemu: failed to initialize kvm: Permission denied" in errors
    assert "falling back to TCG, an interpreter: kvm did not start the machine" in errors


def test_kvm_that_hangs_is_given_up(told: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.cli.boot_steps.LIFE_SECONDS", 0.5)
    told.guest = replace(told.guest, kvm="hangs")
    code, out, errors = told("--by", "kvm", "-q", "image", key=True)
    assert (code, out) == (159, "hello\n")
    assert "falling back to TCG" in errors


def test_a_machine_that_says_nothing_in_its_time(told: Place) -> None:
    told.guest = replace(told.guest, behaviour="sleeps")
    code, _, errors = told("--by", "tcg", "--timeout", "0.5", "image", key=True)
    assert code == 124
    assert "the machine was ended: its 0.5 seconds were up" in errors


def test_a_machine_that_ends_without_its_launchers_word(place: Place) -> None:
    place.guest = Guest(console="oops\r\n", behaviour="silent end", status=1)
    code, _, errors = place("--by", "tcg", "image")
    assert code == 125
    assert "console: oops" in errors
    assert (
        "the machine ended with QEMU's status 1, and its launcher did not say how the program ended" in errors
    )


def test_an_image_without_a_channel_is_seen_on_its_console(place: Place) -> None:
    said = "[    1.2] kernel\r\nhello\r\nshim: a note\r\nno end of a line"
    place.guest = Guest(
        console=said + "\r\nshim: exit code 3: signal 2 ended the program\r\n", behaviour="silent end"
    )
    code, out, errors = place("-q", "--by", "tcg", "--console", str(place.folder / "kept"), "image")
    assert (code, out) == (3, "hello\nno end of a line\n")
    assert errors.splitlines() == [
        "[    1.2] kernel",
        "shim: a note",
        "shim: the machine ended: signal 2 ended the program",
    ]
    assert (place.folder / "kept").read_text().startswith("[    1.2] kernel")


# Parts.


def test_a_console_in_any_pieces_is_the_same() -> None:
    data = b"one\r\nshim: exit code 7\r\ntwo\r\nshim: exit code 300\r\nthree"
    for size in (1, 2, 7, 100):
        shown: list[tuple[bytes, bool]] = []
        console = Console(lambda text, ours, to=shown: to.append((text, ours)), None)  # type: ignore[misc]
        for at in range(0, len(data), size):
            console.receive(data[at : at + size])
            console.flush()
        console.close()
        assert b"".join(text for text, ours in shown if not ours) == b"one\ntwo\nthree"
        assert console.exit_code == 7


def test_a_console_without_lines_fills_no_memory() -> None:
    shown = [0]

    def show(text: bytes, _ours: bool) -> None:  # noqa: FBT001
        shown[0] += len(text)

    console = Console(show, None)
    for _ in range(100):
        console.receive(b"x" * 65536)
    assert shown[0] == 100 * 65536
    assert len(console._line) <= 65536


@pytest.mark.parametrize("said", [{}, {"syscall": "x", "arguments": 5}, {"arch": 1, "syscall": 1 << 70}])
def test_a_strange_event_is_one_line(said: dict[str, object]) -> None:
    line = in_words(said)
    assert line.startswith("violation: ")
    assert "\n" not in line


def test_another_plan_in_an_archive_is_one_that_is_read(place: Place) -> None:
    archive = (place.folder / "image").read_bytes()
    assert replaced(archive, b"shim/plan", encode(place.plan), "x") == archive
