"""What an image has more because it is a machine's: another launcher, modules, and words in its plan."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from images.kernel_modules import KernelModule
    from images.tree import Entry
    from shim.cli.build_machine import MachineOptions
    from shim.launch.confinement import Confinement
    from shim.launch.machine import Channel, Network
    from shim.launch.plan import LaunchPlan

# What the first process mounts there.
_MOUNTED = ("/dev", "/sys")


@dataclass(frozen=True, slots=True)
class Launcher:
    """The bytes of a launcher, and which it is."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Guest:
    """What options say of a machine; nothing where they say nothing."""

    channel: Channel | None = None
    network: Network | None = None
    hostname: str = ""
    modules: tuple[KernelModule, ...] = ()

    @property
    def is_machine(self) -> bool:
        """Whether anything of it is asked for."""
        return bool(self.channel or self.network or self.hostname or self.modules)

    @property
    def findings(self) -> tuple[str, ...]:
        """What a user should know, one line each."""
        modules = (f"kernel module {one.name}, {len(one.data)} bytes: {one.reason}" for one in self.modules)
        if self.channel is not None and self.channel.evidence.name == "SIMULATED":
            return (*modules, "SIMULATED: the machine's evidence will be made up; it proves nothing")
        return tuple(modules)

    def launcher(self, folder: Path) -> Launcher:
        """
        Return the launcher of the image, out of the folder of the package.

        Raises:
            ImageSpecError: the package was built without it.
        """
        from images.errors import ImageSpecError

        name = "shim-init" if self.is_machine else "shim-launch"
        try:
            return Launcher(name, (folder / name).read_bytes())
        except FileNotFoundError as error:
            want = "it beside shim-launch: install libsodium-dev and build the package again"
            raise ImageSpecError(name, "no such file", want) from error

    def directories(self) -> tuple[Entry, ...]:
        """Return what the first process mounts on."""
        from images.tree import Entry, Reason

        reason = Reason("shim", "", "the first process of a machine mounts there what the kernel shows")
        return tuple(Entry.directory(path.encode(), reason) for path in _MOUNTED if self.is_machine)

    def own_entries(self) -> tuple[Entry, ...]:
        """Return the modules."""
        from images.content import Content
        from images.tree import Entry, Reason

        return tuple(
            Entry.file(one.path.encode(), Content.of(one.data), Reason("module", "", one.reason))
            for one in self.modules
        )

    def confinement(self, asked: Confinement) -> Confinement:
        """Return what was asked for; where files are restricted the secret is one that may be read."""
        restricts = asked.read or asked.write or asked.execute or asked.no_files
        if self._secret and restricts:
            return replace(asked, read=(*asked.read, self._secret))
        return asked

    def exists(self, there: Callable[[str], bool]) -> Callable[[str], bool]:
        """Return what also knows of the secret, which is there when the program starts."""
        from images.errors import ImageSpecError

        folder = posixpath.dirname(self._secret)
        if self._secret and (there(self._secret) or there(folder)):
            want = "a secret in a folder of its own, which nothing of the image is in"
            raise ImageSpecError(self._secret, f"{folder} in the image", want)
        return lambda path: path == self._secret or there(path)

    def planned(self, plan: LaunchPlan) -> LaunchPlan:
        """Return the plan with what it says of the machine."""
        from shim.launch.machine import Module

        modules = tuple(Module(one.path.encode(), _digest(one.data)) for one in self.modules)
        return replace(
            plan,
            modules=modules,
            network=self.network,
            hostname=self.hostname.encode(),
            channel=self.channel,
        )

    @property
    def _secret(self) -> str:
        return "" if self.channel is None else self.channel.secret.decode(errors="surrogateescape")


def _digest(data: bytes) -> bytes:
    from shim.canonical import sha256_hex

    return bytes.fromhex(sha256_hex(data))


def guest_of(options: MachineOptions, kernel: Path | None) -> Guest:
    """
    Return what the options say.

    Raises:
        BadParameter: one of them is not understood.
        UsageError: modules are needed, and nobody says of which kernel.
        ImageSpecError: the kernel has no such module.
        InputFileError: a file cannot be read.
    """
    from shim.cli.build_machine import channel_of, modules_of, network_of

    if not options.given:
        return Guest()
    channel, network = channel_of(options), network_of(options)
    return Guest(channel, network, options.hostname or "", modules_of(options, channel, network, kernel))
