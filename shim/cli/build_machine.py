"""What `shim build` asks for where the image is a machine's: its network, its relying party, its secret."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from images.kernel_modules import KernelModule, Wanted
    from shim.launch.machine import Channel, Network

FORMATS: Final = ("initramfs", "uki", "disk", "vhd", "eif")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the user says of the machine; the fields are the options of `machine_options`."""

    relying_party_key: Path | None
    channel: str | None
    evidence: str | None
    secret: str | None
    plain_output: bool
    network: str | None
    hostname: str | None
    kernel_module: tuple[str, ...]
    kernel_modules: Path | None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given, as they are written."""
        return tuple(f"--{name.replace('_', '-')}" for name in self.__slots__ if getattr(self, name))

    def check(self, form: str) -> None:
        """
        Refuse options that mean nothing together or for a format.

        Raises:
            UsageError: there are such.
        """
        if self.given and form not in FORMATS:
            want = f"a format that a machine boots: {', '.join(FORMATS)}"
            raise click.UsageError(f"--format {form}: found {', '.join(self.given)}, want {want}")
        alone = [name for name in ("channel", "evidence", "secret", "plain_output") if getattr(self, name)]
        if self.relying_party_key is None and alone:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in alone)
            raise click.UsageError(f"found {named}, want --relying-party-key FILE beside it")
        if self.relying_party_key is not None and (self.evidence is None or self.secret is None):
            raise click.UsageError(
                "found --relying-party-key, want --evidence tsm|tpm|simulated and "
                "--secret env:NAME|file:PATH beside it"
            )


def machine_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a machine, as `machine`."""

    @click.option(
        "--relying-party-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Run the program only with a secret that the holder of this Ed25519 key releases (public, PEM).",
    )
    @click.option(
        "--channel",
        metavar="virtio:NAME|vsock:CID:PORT|tcp:ADDRESS:PORT",
        help="Where the relying party is; virtio:shim.channel if not given.",
    )
    @click.option(
        "--evidence",
        type=click.Choice(["tsm", "tpm", "simulated"]),
        help="What the machine shows: a report of configfs-tsm, a TPM's quote, or what proves nothing.",
    )
    @click.option(
        "--secret",
        metavar="env:NAME|file:PATH",
        help="Where the program finds it: an open file whose number is in a variable, or a file in memory.",
    )
    @click.option("--plain-output", is_flag=True, help="Do not seal what the program says.")
    @click.option(
        "--network",
        metavar="dhcp|ADDRESS/PREFIX[,gateway=A][,dns=A]",
        help="The first Ethernet interface; dns up to three times.",
    )
    @click.option("--hostname", metavar="NAME", help="Name of the machine.")
    @click.option(
        "--kernel-module",
        multiple=True,
        metavar="NAME",
        help="Load a module, and what it depends on; what other options need comes by itself.",
    )
    @click.option(
        "--kernel-modules",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        metavar="DIR",
        help="Where they are; /lib/modules/RELEASE of --kernel if not given.",
    )
    @functools.wraps(command)
    def with_machine(*context: click.Context, **given: Any) -> int:  # noqa: ANN401  # one type per option
        machine = MachineOptions(**{name: given.pop(name) for name in MachineOptions.__slots__})
        return command(*context, machine=machine, **given)

    return with_machine


def channel_of(options: MachineOptions) -> Channel | None:
    """
    Return the channel that options describe.

    Raises:
        BadParameter: one of them is not understood.
        InputFileError: the key cannot be read.
    """
    from attestation.channel.keys import public_key_of
    from shim.cli.measure_input import read
    from shim.launch.machine import Channel, ChannelKind, EvidenceKind

    if options.relying_party_key is None or options.evidence is None:
        return None
    key = public_key_of(read(options.relying_party_key, "relying party", 1 << 16), "relying party")
    evidence = EvidenceKind[options.evidence.upper()]
    secret = _secret_path(options.secret or "")
    text = options.channel or "virtio:shim.channel"
    kind, _, place = text.partition(":")
    where, _, port = place.rpartition(":")
    common = {"secret": secret, "plain_output": options.plain_output}
    try:
        if kind == "virtio" and place:
            return Channel(ChannelKind.VIRTIO, evidence, key, name=place.encode(), **common)  # type: ignore[arg-type]
        if kind == "vsock":
            numbers = {"cid": int(where), "port": int(port)}
            return Channel(ChannelKind.VSOCK, evidence, key, **numbers, **common)  # type: ignore[arg-type]
        if kind == "tcp":
            address = IPv4Address(where)
            return Channel(ChannelKind.TCP, evidence, key, address=address, port=int(port), **common)  # type: ignore[arg-type]
    except ValueError:
        pass
    want = "virtio:NAME, vsock:CID:PORT or tcp:ADDRESS:PORT with an address of IPv4"
    raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--channel")


def _secret_path(text: str) -> bytes:
    """Return the path of a secret, b"" for an open file."""
    kind, _, name = text.partition(":")
    if kind == "file" and name.startswith("/"):
        return os.fsencode(name)
    if kind == "env" and _VARIABLE.fullmatch(name):
        return b""
    raise click.BadParameter(f"found {text!r}, want env:NAME or file:/PATH", param_hint="--secret")


def variables_of(options: MachineOptions, others: Mapping[str, str]) -> dict[str, str]:
    """
    Return the program's environment: `others`, and the one that names its secret.

    Raises:
        BadParameter: it is among the others.
    """
    from shim.launch.machine import SECRET_FILE

    kind, _, name = (options.secret or "").partition(":")
    if kind != "env":
        return dict(others)
    if name in others:
        raise click.BadParameter(f"found {name} in --env as well, want it once", param_hint="--secret")
    return {**others, name: str(SECRET_FILE)}


def network_of(options: MachineOptions) -> Network | None:
    """
    Return the network that --network describes.

    Raises:
        BadParameter: it is not understood.
    """
    from shim.launch.machine import Network, NetworkMode

    if options.network is None:
        return None
    first, *others = options.network.split(",")
    gateway: IPv4Address | None = None
    servers: list[IPv4Address] = []
    try:
        for other in others:
            name, _, value = other.partition("=")
            if name == "gateway" and gateway is None and first != "dhcp":
                gateway = IPv4Address(value)
            elif name == "dns" and len(servers) < 3:
                servers.append(IPv4Address(value))
            else:
                raise AddressValueError(other)
        if first == "dhcp":
            return Network(NetworkMode.DHCP, dns=tuple(servers))
        address, _, prefix = first.partition("/")
        return Network(NetworkMode.STATIC, IPv4Address(address), int(prefix), gateway, tuple(servers))
    except ValueError as error:
        want = "dhcp or ADDRESS/PREFIX, with gateway=ADDRESS once and dns=ADDRESS up to three times behind it"
        raise click.BadParameter(f"found {options.network!r}, want {want}", param_hint="--network") from error


def modules_of(
    options: MachineOptions, channel: Channel | None, network: Network | None, kernel: Path | None
) -> tuple[KernelModule, ...]:
    """
    Return the kernel modules that a machine needs.

    Raises:
        UsageError: there are some, and nobody says of which kernel.
        ImageSpecError: the kernel has no such module.
        KernelError: the kernel is none.
    """
    from images.bzimage import parse
    from images.kernel_modules import modules_for
    from shim.cli.measure_input import MAXIMUM_IMAGE, read

    wanted = wanted_modules(options.kernel_module, channel, network)
    if not wanted:
        return ()
    folder = options.kernel_modules
    if folder is None:
        if kernel is None:
            reasons = ", ".join(dict.fromkeys(one.reason for one in wanted))
            want = "--kernel FILE or --kernel-modules DIR: its modules are loaded"
            raise click.UsageError(f"found no kernel, want {want} ({reasons})")
        folder = Path("/lib/modules") / parse(read(kernel, "kernel", MAXIMUM_IMAGE)).release
    place = folder

    def content(path: str) -> bytes | None:
        file = place / path
        return file.read_bytes() if file.is_file() else None

    return modules_for(wanted, content, str(place))


def wanted_modules(
    named: tuple[str, ...], channel: Channel | None, network: Network | None
) -> tuple[Wanted, ...]:
    """Return what a machine needs of its kernel, first things first."""
    from images.kernel_modules import Wanted
    from shim.launch.machine import ChannelKind, EvidenceKind

    found = [Wanted((name,), f"--kernel-module {name}") for name in named]
    ports = "a port of virtio-serial"
    if channel is not None:
        if channel.kind is ChannelKind.VIRTIO:
            found.append(Wanted(("virtio_pci", "virtio_console"), f"the channel is {ports}"))
        if channel.kind is ChannelKind.VSOCK:
            found.append(Wanted(("virtio_pci", "vmw_vsock_virtio_transport"), "the channel is vsock"))
        if channel.evidence is EvidenceKind.SIMULATED:
            found.append(Wanted(("virtio_pci", "virtio_console"), f"who plays a TEE is behind {ports}"))
        if channel.evidence is EvidenceKind.TSM:
            drivers = ("sev_guest", "tdx_guest", "arm_cca_guest")
            found.append(Wanted(("configfs",), "evidence comes by configfs"))
            found.append(Wanted(drivers, "evidence comes from the TEE", all_of_them=False))
        if channel.evidence is EvidenceKind.TPM:
            found.append(Wanted(("tpm_crb", "tpm_tis"), "evidence comes from a TPM", all_of_them=False))
    if network is not None:
        found.append(Wanted(("virtio_pci", "virtio_net"), "the network"))
    return tuple(found)
