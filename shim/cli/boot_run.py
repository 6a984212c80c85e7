"""One machine from its start to its end: what it is started with, what is carried, how it ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from images.boot import qemu
from images.boot.qemu import Part
from shim.cli.boot_console import Console
from shim.cli.boot_image import BootImage
from shim.cli.boot_machine import Machine, file_in_memory, lines, path_of
from shim.cli.boot_party import Party, TeePort
from shim.cli.boot_wires import Wire, Wires

FLASH = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
TEE_PORT = "shim.tee"
LIFE_SECONDS = 30.0
"""How long a machine under KVM may say nothing at all, where it is known to speak first."""
_DRAIN_SECONDS = 5.0  # for what is on its way when QEMU is gone
_MOST_ERRORS = 1 << 14
_AFTER_FAILURE = 10.0  # for a guest to say what it thinks of that, and to power off
_QUIET = 0.2  # seconds after which a line that has no end yet is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    What a machine is started with.

    Attributes:
        program: QEMU.
        image: What it boots.
        base: Its kind, processors and memory: a part of `images.boot.qemu`.
        extra: Parts behind the others: a network, a TPM.
        firmware: Of a confidential machine; "" for none.
        flash: Code and variables of the firmware of other machines.
        port: Name of the virtio-serial port of the channel, "" for none.
        has_tee_port: Whether somebody plays a TEE for it.
        timeout: Seconds after which it is ended; None for never.
        inherited: Descriptors that `extra` names, which are QEMU's to close.
    """

    program: str
    image: BootImage
    base: Part
    extra: tuple[Part, ...] = ()
    firmware: str = ""
    flash: tuple[str, str] = FLASH
    port: str = ""
    has_tee_port: bool = False
    timeout: float | None = None
    inherited: tuple[int, ...] = ()

    @property
    def port_names(self) -> tuple[str, ...]:
        """The virtio-serial ports, in their order."""
        return (*((self.port,) if self.port else ()), *((TEE_PORT,) if self.has_tee_port else ()))


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a machine ended.

    Attributes:
        qemu_status: As `subprocess` has it: 0, an exit code, or a signal below zero.
        qemu_errors: What QEMU said, the end of it.
        was_alive: Whether it said anything, on any line.
        timed_out: Whether its time was up.
        signal: The one that this process was sent, or None.
    """

    qemu_status: int
    qemu_errors: str
    was_alive: bool
    timed_out: bool
    signal: int | None


def command_line(setting: Setting, paths: dict[str, str], descriptors: tuple[int, ...]) -> tuple[str, ...]:
    """
    Return QEMU's command line.

    Args:
        setting: What the machine is started with.
        paths: Names of kernel and initrd, or of the disk.
        descriptors: Of the console and the ports, in their order.
    """
    image = setting.image
    parts: list[Part] = [setting.base]
    if setting.firmware:
        parts.append(qemu.firmware(setting.firmware))
    if image.form == "initramfs":
        parts.append(qemu.handed_over(paths["kernel"], paths["initrd"], image.command_line))
    else:
        parts += [qemu.flash(*setting.flash), qemu.disk(paths["disk"])]
    parts.append(qemu.console(descriptors[0]))
    parts.append(qemu.ports(zip(setting.port_names, descriptors[1:], strict=True)))
    return qemu.command(setting.program, (*parts, *setting.extra))


def dry_command_line(setting: Setting, kernel: str) -> tuple[str, ...]:
    """Return the command line with names where a run has descriptors, which exist only then."""
    image = setting.image
    paths = {"kernel": kernel, "initrd": image.where, "disk": image.where}
    descriptors = tuple(range(3, 4 + len(setting.port_names)))
    return command_line(setting, paths, descriptors)


def run(  # noqa: PLR0913  # who is at the other ends
    setting: Setting,
    console: Console,
    party: Party | None,
    tee: TeePort | None,
    *,
    monotonic: Callable[[], float],
    started: Callable[[int], None] = lambda _: None,
    life_seconds: float | None = None,
) -> Ended:
    """
    Return how the machine ended, once it is gone.

    Args:
        setting: What it is started with.
        console: Gets what it writes there.
        party: Answers on its channel.
        tee: Plays its TEE.
        monotonic: Returns seconds.
        started: Gets the number of QEMU's process.
        life_seconds: How long it may say nothing at all; None for ever.

    Raises:
        QemuError: QEMU cannot be executed.
    """
    with ExitStack() as stack:
        files = stack.enter_context(_files(setting.image))
        sockets = stack.enter_context(lines(1 + len(setting.port_names)))
        descriptors = tuple(theirs for _, theirs in sockets)
        paths = {name: path_of(descriptor) for name, descriptor in files.items()}
        command = command_line(setting, paths, descriptors)
        passed = (*descriptors, *files.values(), *setting.inherited)
        files.clear()  # from here on they are the machine's to close
        machine = stack.enter_context(Machine(command, passed))
        started(machine.pid)
        carrying = _Carrying(machine, console, party, tee)
        carrying.connect([ours for ours, _ in sockets])
        stack.callback(carrying.close)
        return carrying.to_the_end(setting.timeout, life_seconds, monotonic)


class _Carrying:
    """All lines of one machine."""

    def __init__(self, machine: Machine, console: Console, party: Party | None, tee: TeePort | None) -> None:
        self._machine, self._console, self._party, self._tee = machine, console, party, tee
        self._wires = Wires()
        self._errors = bytearray()
        self._was_alive = False
        self._has_exited = False

    def connect(self, sockets: list[socket.socket]) -> None:
        console, *ports = sockets
        self._wires.add(Wire(console, self._alive(self._console.receive), self._console.close))
        for end in (self._party, self._tee):
            if end is None:
                continue
            wire = Wire(ports.pop(0), self._alive(self._guarded(end.receive)))
            if isinstance(end, TeePort):
                end.attach(wire)
            else:
                wire.on_end = end.close
                end.attach(wire, self._wires)
            self._wires.add(wire)
        self._wires.watch(self._machine.exited, self._exited)
        if self._machine.errors is not None:
            os.set_blocking(self._machine.errors.fileno(), False)
            self._wires.watch(self._machine.errors.fileno(), self._read_errors)

    def close(self) -> None:
        """Close what was opened meanwhile."""
        self._wires.close()

    def to_the_end(
        self, timeout: float | None, life_seconds: float | None, monotonic: Callable[[], float]
    ) -> Ended:
        began = monotonic()
        timed_out = False
        failed_at: float | None = None
        drain_until: float | None = None
        while True:
            now = monotonic()
            if self._has_exited:
                drain_until = drain_until or now + _DRAIN_SECONDS
                if self._wires.are_all_closed or now > drain_until:
                    break
            elif timeout is not None and now - began > timeout:
                timed_out = True
                self._machine.kill()
            elif life_seconds is not None and not self._was_alive and now - began > life_seconds:
                self._machine.kill()
            elif self._has_failed():
                failed_at = failed_at or now
                if now - failed_at > _AFTER_FAILURE:
                    self._machine.kill()
            wait = min(self._party.tick() if self._party else 1.0, _QUIET)
            if not self._wires.step(wait):
                self._console.flush()
        return Ended(
            self._machine.status,
            self._errors.decode(errors="replace"),
            self._was_alive,
            timed_out,
            self._machine.signal,
        )

    def _has_failed(self) -> bool:
        """A guest that was refused ends by itself; one that talks to nobody any more has to be ended."""
        return any(end is not None and end.failure is not None for end in (self._party, self._tee))

    def _alive(self, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def received(data: bytes) -> None:
            self._was_alive = True
            receive(data)

        return received

    def _guarded(self, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """A machine that reads no answer is ended: it would fill our memory."""

        def received(data: bytes) -> None:
            try:
                receive(data)
            except BufferError:
                self._machine.kill()

        return received

    def _exited(self) -> None:
        self._has_exited = True
        self._wires.drop(self._machine.exited)

    def _read_errors(self) -> None:
        errors = self._machine.errors
        data = b"" if errors is None else os.read(errors.fileno(), 1 << 14)
        if not data and errors is not None:
            self._wires.drop(errors.fileno())
        self._errors += data
        del self._errors[:-_MOST_ERRORS]


@contextmanager
def _files(image: BootImage) -> Iterator[dict[str, int]]:
    """Give descriptors of what is booted; they are closed unless they were passed on and taken out."""
    files: dict[str, int] = {}
    try:
        if image.form == "initramfs":
            files["kernel"] = file_in_memory("kernel", image.kernel)
            files["initrd"] = file_in_memory("initramfs", image.initrd)
        else:
            from images import disk

            files["disk"] = file_in_memory("disk", disk.image(image.program, 1 << 30).to_bytes())
        yield files
    finally:
        for descriptor in files.values():
            os.close(descriptor)
