# ruff: noqa: F811  # fixtures are named as what they are
"""`shim build` of images that a machine boots: what of the options stands in the measured plan."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shim.launch.machine import Channel, ChannelKind, EvidenceKind, Network, NetworkMode
from shim.launch.plan import LaunchPlan
from shim.launch.plan_codec import decode
from tests.fakes import bzimage
from tests.guest import members
from tests.shim.cli.test_build import ROOT, Shim, cache, hello, placed, shim  # noqa: F401  # fixtures
from tests.shim.conftest import compile_c  # noqa: F401  # a fixture

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()
MODULES = {
    "modules.dep": b"virtio_pci.ko:\nvirtio_console.ko: virtio_pci.ko\nvirtio_net.ko:\n"
    b"vmw_vsock_virtio_transport.ko:\nextra.ko:\n",
    **dict.fromkeys(
        (
            "virtio_pci.ko",
            "virtio_console.ko",
            "virtio_net.ko",
            "vmw_vsock_virtio_transport.ko",
            "extra.ko",
        ),
        b"\x7fELF",
    ),
}


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """A key, and modules."""
    for name, data in MODULES.items():
        placed(tmp_path / "modules" / name, data, 0o644)
    placed(tmp_path / "rp.pem", KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    kernel = placed(tmp_path / "kernel", bzimage.kernel(), 0o644)
    where = ("--kernel", str(kernel), "--kernel-modules", str(tmp_path / "modules"))
    return ("--format", "initramfs", "--relying-party-key", str(tmp_path / "rp.pem"), *where)


def built(shim: Shim, folder: Path, *options: str | Path) -> tuple[LaunchPlan, dict[bytes, bytes]]:
    done = shim("--compress", "none", "-o", folder / "initramfs", *options)
    assert done.returncode == 0, done.stderr
    files = dict(members((folder / "initramfs").read_bytes()))
    return decode(files[b"shim/plan"]), files


def test_a_channel_and_its_modules(shim: Shim, hello: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    plan, files = built(
        *(shim, tmp_path, *given, "--evidence", "simulated", "--secret", "env:KEY", "--env", "A=1", hello)
    )
    raw = KEY.public_bytes_raw()
    assert plan.channel == Channel(ChannelKind.VIRTIO, EvidenceKind.SIMULATED, raw, b"shim.channel")
    assert plan.environment == (b"A=1", b"KEY=3")
    assert [one.path for one in plan.modules] == [
        b"/shim/modules/virtio_pci.ko",
        b"/shim/modules/virtio_console.ko",
    ]
    assert (b"dev" in files, b"sys" in files) == (True, True)
    assert files[b"shim/launch"] == (ROOT / "shim" / "launch" / "shim-init").read_bytes()
    # As they were typed, which is what a rebuild needs; relative paths say nothing of this machine.
    request = json.loads(files[b"shim/manifest.json"])["request"]
    assert request[request.index("--kernel-modules") + 1] == str(tmp_path / "modules")


PLACES = {
    "vsock:2:4711": {"kind": ChannelKind.VSOCK, "cid": 2, "port": 4711},
    "tcp:10.0.2.2:80": {"kind": ChannelKind.TCP, "address": IPv4Address("10.0.2.2"), "port": 80},
    "virtio:other": {"kind": ChannelKind.VIRTIO, "name": b"other"},
}


@pytest.mark.parametrize("place", PLACES)
def test_places_of_a_relying_party(
    shim: Shim, hello: Path, tmp_path: Path, given: tuple[str, ...], place: str
) -> None:
    options = ("--evidence", "simulated", "--secret", "file:/run/keys/s", "--channel", place)
    more = ("--network", "dhcp,dns=10.0.2.3", "--plain-output", "--kernel-module", "extra", "--hostname", "h")
    plan, _ = built(shim, tmp_path, *given, *options, *more, hello)
    wanted = {"evidence": EvidenceKind.SIMULATED, "relying_party": KEY.public_bytes_raw()}
    assert plan.channel == Channel(**wanted, **PLACES[place], secret=b"/run/keys/s", plain_output=True)
    assert plan.network == Network(NetworkMode.DHCP, dns=(IPv4Address("10.0.2.3"),))
    assert plan.hostname == b"h"
    names = [one.path.rpartition(b"/")[2] for one in plan.modules]
    assert names[0] == b"extra.ko"
    assert b"virtio_net.ko" in names


def test_where_files_are_restricted_the_secret_may_be_read(
    shim: Shim, hello: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    options = ("--evidence", "simulated", "--secret", "file:/run/keys/s", "--no-files")
    plan, _ = built(shim, tmp_path, *given, *options, hello)
    assert plan.landlock is not None
    assert b"/run/keys/s" in [rule.path for rule in plan.landlock.paths]


def test_a_network_without_a_relying_party(shim: Shim, hello: Path, tmp_path: Path) -> None:
    for name, data in MODULES.items():
        placed(tmp_path / "modules" / name, data, 0o644)
    words = "192.0.2.7/24,gateway=192.0.2.1,dns=192.0.2.2,dns=192.0.2.3"
    where = ("--format", "initramfs", "--kernel-modules", tmp_path / "modules")
    plan, _ = built(shim, tmp_path, *where, "--network", words, hello)
    addresses = [IPv4Address(f"192.0.2.{last}") for last in (7, 1, 2, 3)]
    assert plan.network == Network(
        NetworkMode.STATIC, addresses[0], 24, addresses[1], (addresses[2], addresses[3])
    )
    assert plan.channel is None


HELD = ("--evidence", "simulated", "--secret", "env:KEY")
REFUSED = {
    "another-format": (("--format", "oci", *HELD), "found --relying-party-key, --evidence, --secret"),
    "no-evidence": (("--secret", "env:KEY"), "want --evidence tsm|tpm|simulated"),
    "no-secret": (("--evidence", "tsm"), "--secret env:NAME|file:PATH beside it"),
    "another-evidence": (("--evidence", "none", "--secret", "env:KEY"), "'none' is not one of"),
    "a-number-for-a-name": (("--evidence", "tsm", "--secret", "env:9"), "found 'env:9', want env:NAME"),
    "a-relative-path": (("--evidence", "tsm", "--secret", "file:key"), "found 'file:key'"),
    "a-secret-at-the-root": (
        ("--evidence", "simulated", "--secret", "file:/key"),
        "want a secret in a folder of its own",
    ),
    "a-folder-of-the-image": (
        ("--directory", "/run/keys", "--evidence", "simulated", "--secret", "file:/run/keys/s"),
        "found /run/keys in the image",
    ),
    "the-variable-twice": ((*HELD, "--env", "KEY=x"), "found KEY in --env as well"),
    "no-port": ((*HELD, "--channel", "tcp:10.0.0.1"), "found 'tcp:10.0.0.1'"),
    "a-name-for-an-address": ((*HELD, "--channel", "tcp:host:80"), "with an address of IPv4"),
    "another-channel": ((*HELD, "--channel", "pipe:x"), "want virtio:NAME, vsock:CID:PORT or tcp"),
    "a-port-too-high": ((*HELD, "--channel", "vsock:2:99999999999"), "channel"),
    "tcp-without-a-network": (
        (*HELD, "--channel", "tcp:10.0.0.1:80"),
        "found no network, want a network for TCP",
    ),
    "four-servers": (("--network", "dhcp" + ",dns=1.1.1.1" * 4, *HELD), "dns=ADDRESS up to three times"),
    "dhcp-with-a-gateway": (("--network", "dhcp,gateway=1.1.1.1", *HELD), "want dhcp or ADDRESS/PREFIX"),
    "no-prefix": (("--network", "10.0.0.1", *HELD), "want dhcp or ADDRESS/PREFIX"),
    "a-prefix-too-long": (("--network", "10.0.0.1/33", *HELD), "network.prefix"),
    "a-bad-hostname": (("--hostname", "-a", *HELD), "hostname: found '-a"),
    "no-such-module": (("--kernel-module", "nothing", *HELD), "found no module nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(shim: Shim, hello: Path, tmp_path: Path, given: tuple[str, ...], case: str) -> None:
    options, words = REFUSED[case]
    done = shim(*given, *options, "-o", tmp_path / "out", hello)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split()), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_key_of_another_kind_is_refused(
    shim: Shim, hello: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    key = X25519PrivateKey.generate().public_key()
    for data in (key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b"no key"):
        (tmp_path / "rp.pem").write_bytes(data)
        done = shim(*given, *HELD, "-o", tmp_path / "out", hello)
        assert done.returncode != 0
        assert "relying party: found " in done.stderr


def test_modules_are_of_the_kernel_that_boots(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("--format", "initramfs", "--network", "dhcp", "-o", tmp_path / "out", hello)
    assert done.returncode == 2
    assert "found no kernel, want --kernel FILE or --kernel-modules DIR" in " ".join(done.stderr.split())
