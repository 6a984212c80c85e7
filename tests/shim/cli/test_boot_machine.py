"""`shim boot` with real machines: the kernel of this system, QEMU, TCG, a host that relays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from images.boot.initramfs import content
from tests import guest, measured_boot
from tests.fakes.channel import POLICY_FILE, SECRET, SIGNING_KEY

ROOT = Path(__file__).resolve().parents[3]
SHIM = (sys.executable, "-c", "from shim.cli.main import main; main()")
PROGRAM_SAYS = [b"secret " + SECRET, b"environment SECRET_FD=3", b"sealed 1, written -1", b"open 0 1 2 3"]


@dataclass(frozen=True)
class Done:
    code: int
    out: bytes
    lines: tuple[str, ...]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@dataclass(frozen=True)
class Images:
    """One folder with a relying party's key, a secret and images of one program."""

    folder: Path
    kernel: Path

    def shim(self, *arguments: str | Path) -> Done:
        command = [*SHIM, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, check=False
        )
        return Done(done.returncode, done.stdout, tuple(done.stderr.decode().splitlines()))

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def build(
        self,
        name: str,
        *arguments: str,
        form: str = "initramfs",
        options: tuple[str, ...] = (),
        program: str = "secret_program",
    ) -> str:
        held = ("--relying-party-key", "rp.pub", "--evidence", "simulated", "--secret", "env:SECRET_FD")
        done = self.shim(
            *("build", "--format", form, "--compress", "none", "--kernel", self.kernel, *held),
            *("--as", "/program", "--allow-incomplete", "--reference-values", f"{name}.json"),
            *(*options, "-o", name, self.folder / program, *arguments),
        )
        assert done.code == 0, done.lines
        return name

    def boot(self, image: str, *options: str | Path, key: bool = True) -> Done:
        mine = ("--key", "rp.key", "--secret", "secret") if key else ()
        return self.shim(
            *("boot", "--timeout", "150", "--kernel", self.kernel, "--console", "console"),
            *mine,
            *options,
            image,
        )

    @property
    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")

    def plan_digest(self, image: str) -> str:
        import hashlib  # noqa: PLC0415

        plan = content((self.folder / image).read_bytes(), b"shim/plan", image)
        assert plan is not None
        return hashlib.sha256(plan).hexdigest()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    kernel = guest.kernel()
    folder = tmp_path_factory.mktemp("boot")
    for name in ("secret_program", "first_program"):
        source = ROOT / "tests" / "probes" / f"{name}.c"
        subprocess.run(["musl-gcc", "-static", "-O1", "-s", source, "-o", folder / name], check=True)
    pem = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "rp.key").write_bytes(pem)
    public = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "rp.pub").write_bytes(public)
    (folder / "secret").write_bytes(SECRET)
    made = Images(folder, kernel)
    made.build("machine", "3", "machine")
    made.build("refused", "refused", "169", program="first_program")
    return made


def test_a_machine_runs_its_program_with_the_secret(images: Images) -> None:
    """Streams stay apart, its status is ours; orphans are reaped; the secret is on no console, in no variable."""
    done = images.boot("machine")
    lines = done.out.splitlines()
    assert done.code == 7, done.lines
    assert lines[:4] == PROGRAM_SAYS
    assert b"zombies 0" in lines
    assert b"to standard error" not in done.out
    assert done.said("to standard error")
    assert done.said("TCG (an interpreter) by QEMU")
    assert done.said("SIMULATED evidence affirmed")
    (expected,) = [line for line in done.lines if "expected SIMULATED measurement" in line]
    recorded = json.loads((images.folder / "machine.json").read_text())["values"]
    assert expected.endswith(f"sha-384:{recorded[0]['digest']}")
    assert SECRET.decode() not in images.console
    assert "power off; how the program ended is sealed" in images.console
    assert SECRET.decode() not in "\n".join(done.lines)


def test_another_initramfs_and_command_line_are_refused_by_name(images: Images) -> None:
    done = images.boot("refused", "--reference-values", "machine.json", "--cmdline", "loglevel=4")
    assert (done.code, done.out) == (125, b"")
    assert done.said("SIMULATED evidence: report.measurement: found ")
    assert done.said("nothing was released: the appraisal ended as policy mismatch")
    assert done.said("shim: initramfs: found sha256:")
    assert done.said("shim: command line: found sha256:")
    assert not done.said("shim: kernel: found sha256:")
    assert done.said("guest: refusal: found 17, want a release")


def test_a_refused_call_ends_the_program_and_is_told(images: Images) -> None:
    done = images.boot("refused", "--events", "events", "-q")
    assert done.code == 159, done.lines
    assert done.out == b"program begins\n"
    assert done.said("shim: violation: reboot [169](0x")
    (event,) = (images.folder / "events").read_text().splitlines()
    assert json.loads(event)["syscall"] == 169
    assert "reboot [169]" not in images.console
    assert not done.said("expected")


class Tap:
    """A host between machine and relying party that keeps what goes by, and comes up late."""

    def __init__(self, target: tuple[str, int], late: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.address = taken.getsockname()
        self.seen = bytearray()
        self._target, self._late = target, late
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        time.sleep(self._late)
        with socket.create_server(self.address) as listener:
            near, _ = listener.accept()
        with near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join(10)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def join(self) -> None:
        self._thread.join(20)


@contextlib.contextmanager
def service(images: Images, image: str) -> Iterator[tuple[str, int]]:
    """A relying party with a store, for one plan and what was written of its image."""
    measured = json.loads((images.folder / f"{image}.json").read_text())["values"][0]["digest"]
    text = re.sub(r'digest = "[0-9a-f]{96}"', f'digest = "{measured}"', POLICY_FILE.read_text())
    (images.folder / "service.toml").write_text(text)
    (images.folder / "keys").write_text("31" * 32)
    command = [
        *(*SHIM, "serve", "--policy", "service.toml", "--resource", "disk-key=secret"),
        *("--database", "database", "--database-key", "keys", "--listen", "127.0.0.1:0", "--instance", "one"),
        *("--channel", "127.0.0.1:0", "--channel-key", "rp.key", "--channel-resource", "disk-key"),
        *("--channel-plan", images.plan_digest(image), "--channel-output", "output"),
    ]
    process = subprocess.Popen(
        command, cwd=images.folder, env=images._environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        found = None
        for line in process.stderr:
            found = found or re.search(r"serving guests on tcp://([0-9.]+):(\d+)", line)
            if "listening on" in line:
                break
        assert found is not None
        yield found[1], int(found[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_a_machine_whose_relying_party_is_elsewhere_and_comes_late(images: Images) -> None:
    """The host between sees neither secret nor output; the store has one release, and how it ended."""
    with service(images, "machine") as address:
        tap = Tap(address, late=12.0)
        host, port = tap.address
        done = images.boot("machine", "--url", f"tcp://{host}:{port}", key=False)
        tap.join()
    assert (done.code, done.out) == (0, b""), done.lines
    assert done.said("how the program ended is sealed to the relying party")
    for text in (SECRET, b"zombies", b"standard error"):
        assert text not in tap.seen
    (kept,) = (images.folder / "output").iterdir()
    assert (kept / "stdout").read_bytes().splitlines()[:4] == PROGRAM_SAYS
    assert ((kept / "stderr").read_bytes(), (kept / "exit").read_bytes()) == (b"to standard error\n", b"7\n")
    shown = images.shim(
        *("serve", "--database", "database", "--database-key", "keys", "--instance", "one", "--verify-audit")
    )
    assert shown.code == 0, shown.lines
    assert re.fullmatch(rb"one 3 [0-9a-f]+.*\n?", shown.out) or b"3" in shown.out


def test_a_unified_kernel_image_boots_from_firmware(images: Images) -> None:
    """From a disk in memory, which is measured as the program that its firmware starts."""
    if not measured_boot.STUB.exists() or not Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists():
        pytest.skip(f"no OVMF or no stub ({measured_boot.PACKAGES})")
    images.build("machine.vhd", "3", form="vhd", options=("--stub", str(measured_boot.STUB)))
    done = images.shim(
        "boot",
        "--timeout",
        "150",
        "--key",
        "rp.key",
        "--secret",
        "secret",
        "--console",
        "console",
        "machine.vhd",
    )
    assert done.code == 7, (done.lines, images.console[-2000:])
    assert done.out.splitlines()[:4] == PROGRAM_SAYS
    damaged = bytearray((images.folder / "machine.vhd").read_bytes())
    damaged[20 << 20] ^= 1
    (images.folder / "damaged.vhd").write_bytes(damaged)
    done = images.shim("boot", "--timeout", "150", "--key", "rp.key", "damaged.vhd")
    assert done.code == 125
    assert done.said("want a disk of shim build, unchanged")


def test_kvm_that_does_not_work_is_given_up_for_tcg(images: Images) -> None:
    """A QEMU whose KVM fails, and whose TCG is the real one; the image has nobody who waits for it."""
    wrapper = images.folder / "qemu"
    wrapper.write_text(
        "#!/bin/sh\nfor word; do [ \"$word\" = kvm ] && { echo 'qemu: no KVM today' >&2; exit 1; }; done\n"
        'exec qemu-system-x86_64 "$@"\n'
    )
    wrapper.chmod(0o755)
    plain = images.shim(
        *("build", "--format", "initramfs", "--compress", "none", "-o", "plain", "--allow-incomplete"),
        *("--as", "/program", images.folder / "first_program", "first"),
    )
    assert plain.code == 0, plain.lines
    done = images.shim(
        "boot", "--timeout", "150", "--kernel", images.kernel, "--by", "kvm", "--qemu", "./qemu", "plain"
    )
    assert done.code == 7, done.lines
    assert done.out.splitlines()[0] == b"program begins"
    assert done.said("QEMU: qemu: no KVM today")
    assert done.said("falling back to TCG")
