"""The steps of `shim boot`: image, technology, expectation, machine, and what is said of its end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from attestation.channel.simulated_tee import SimulatedTee
from images.boot import qemu
from images.boot.choice import Choice, Technology, choose
from images.boot.errors import BootError, QemuError
from images.boot.host import probe
from shim.cli import boot_keep, boot_report
from shim.cli.boot_console import Console
from shim.cli.boot_image import BootImage, Trust, load
from shim.cli.boot_party import Embedded, Party, TeePort
from shim.cli.boot_relying import Relying, measured_by, relying, wants_tpm, with_key
from shim.cli.boot_request import Request
from shim.cli.boot_run import LIFE_SECONDS, Ended, Setting, dry_command_line, run
from shim.cli.main import EXIT_REFUSED, say

if TYPE_CHECKING:
    from attestation.reference_values import Entry
    from shim.cli.boot_tpm import SoftwareTpm

EXIT_TIMEOUT = 124
_PROBE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Ready:
    """
    A boot with everything decided before it.

    Attributes:
        request: What was asked for.
        image: What is booted.
        choice: By what.
        setting: What QEMU is started with.
        relying: Who releases, or None for an image without a channel.
        booted: What evidence of this boot will say.
        said: What a user is told of all that.
        tpm: Which TPM in software it gets.
    """

    request: Request
    image: BootImage
    choice: Choice
    setting: Setting
    relying: Relying | None
    booted: tuple[Entry, ...]
    said: tuple[str, ...]
    tpm: SoftwareTpm | None = None

    def dry_command_line(self) -> tuple[str, ...]:
        """Return QEMU's command line with names for descriptors."""
        setting = self.setting
        if self.tpm is not None:
            setting = replace(setting, extra=(*setting.extra, qemu.tpm(4 + len(setting.port_names))))
        return dry_command_line(setting, str(self.request.kernel))

    def under(self, technology: Technology) -> Ready:
        """Return the same without hardware that measures, by another technology."""
        base = qemu.plain(technology, qemu.Resources(self.request.cpus, self.request.memory))
        return replace(
            self, choice=replace(self.choice, technology=technology), setting=replace(self.setting, base=base)
        )


def prepare(request: Request, stack: ExitStack) -> Ready:
    """
    Return a boot that can be executed, until `stack` is closed.

    Raises:
        ShimError: the image, a file or the host is not what it has to be; nothing was started.
        UsageError: options that the image has no room for.
    """
    from shim.cli.boot_hardware import base_of, firmware_of, launch_of
    from shim.cli.boot_policy import expected
    from shim.cli.boot_tpm import manufacture

    trust = Trust(request.image_policy, request.image_bundle)
    image = load(request.image, request.kernel, request.cmdline, trust)
    image = _with_arguments(image, request.arguments)
    host = probe(request.qemu, Path("/"), _output_of)
    wanted = None if request.by is None else Technology(request.by)
    choice = choose(host, wanted, has_firmware=request.firmware is not None, is_started=not request.dry_run)
    image, key = with_key(request, image)
    by = measured_by(image, choice.technology)
    firmware = firmware_of(request, choice.technology)
    if request.tpm or wants_tpm(image):
        booted = _expected_with_tpm(request, image)
    else:
        booted = expected(image, by, firmware, launch_of(request))
    tpm = manufacture(Path(stack.enter_context(TemporaryDirectory()))) if request.tpm else None
    who = relying(request, image, key, booted, by, tpm)
    resources = qemu.Resources(request.cpus, request.memory)
    setting = Setting(
        program=request.qemu,
        image=image,
        base=base_of(request, choice.technology, resources, booted),
        extra=_extra(request, image),
        firmware=str(request.firmware) if choice.technology.is_confidential else "",
        port="" if who is None else who.port,
        has_tee_port=who is not None and who.is_simulated,
        timeout=request.timeout,
    )
    said = [f"{choice.name} by QEMU {host.version}: {choice.why}"]
    if choice.technology.is_confidential:
        said.append(qemu.NOT_RUN)
    return Ready(request, image, choice, setting, who, booted, tuple(said), tpm)


def _expected_with_tpm(request: Request, image: BootImage) -> tuple[Entry, ...]:
    from shim.cli.boot_policy import expected_of_tpm

    if not request.tpm:
        raise BootError(f"{image.where}: evidence of a TPM", "a machine without one", "--tpm")
    if not wants_tpm(image):
        want = "an image that was built with --evidence tpm"
        raise click.UsageError(f"{image.where}: found --tpm, want {want}")
    return expected_of_tpm(image)


def execute(ready: Ready) -> int:
    """
    Run the machine and return the program's exit code, or what stands for its absence.

    Raises:
        ShimError: it did not start.
    """
    tell = ready.request.tell
    for line in ready.said:
        tell(line)
    tell(f"{ready.image.where}: plan sha256:{ready.image.plan_digest.hex()}")
    for entry in () if ready.relying is None else ready.relying.wanted:
        tell(boot_report.expectation(entry))
    if ready.relying is not None and ready.relying.is_simulated:
        say("SIMULATED: this host plays the TEE; its evidence proves nothing about any machine")
    if ready.tpm is not None:
        from shim.cli.boot_tpm import LABEL

        say(LABEL)
    code = _attempt(ready)
    if code is None:
        say(f"falling back to TCG, an interpreter: {ready.choice.technology} did not start the machine")
        code = _attempt(ready.under(Technology.TCG))
    return EXIT_REFUSED if code is None else code


def _attempt(ready: Ready) -> int | None:
    """Return how it ended; None where KVM did not get the machine to say anything."""
    request, who = ready.request, ready.relying
    is_kvm = ready.choice.technology is Technology.KVM
    with ExitStack() as stack:
        keep = None if request.console is None else stack.enter_context(request.console.open("wb"))
        events = None if request.events is None else stack.enter_context(request.events.open("ab"))
        console = Console(None if who is not None else _show, keep)
        story = boot_report.Story(say, events)
        party = None if who is None else who.party(story, request.tell)
        tee = TeePort(SimulatedTee(ready.booted[0].digest)) if ready.setting.has_tee_port else None
        ended = run(
            _with_tpm(ready, stack),
            console,
            party,
            tee,
            monotonic=time.monotonic,
            life_seconds=LIFE_SECONDS if is_kvm and who is not None else None,
        )
    if request.keep is not None and isinstance(party, Embedded) and party.session.said is not None:
        maker = b"" if ready.tpm is None else ready.tpm.certificates
        request.tell(f"kept: shim verify {boot_keep.write(request.keep, party.session, maker)}")
    did_not_start = not ended.was_alive and ended.qemu_status != 0
    if is_kvm and did_not_start and not ended.timed_out and ended.signal is None:
        for line in ended.qemu_errors.splitlines()[-3:]:
            say(f"QEMU: {line}")
        return None
    return _conclusion(ready, ended, console, party, story)


def _with_tpm(ready: Ready, stack: ExitStack) -> Setting:
    """Return the setting with a TPM that was just switched on, where the machine gets one."""
    from shim.cli.boot_tpm import powered

    if ready.tpm is None:
        return ready.setting
    line = stack.enter_context(powered(ready.tpm))
    return replace(ready.setting, extra=(*ready.setting.extra, qemu.tpm(line)), inherited=(line,))


def _conclusion(
    ready: Ready, ended: Ended, console: Console, party: Party | None, story: boot_report.Story
) -> int:
    """Say how it ended, and return the exit code."""
    if ended.signal is not None:
        say(f"the machine was ended: signal {ended.signal}")
        return 128 + ended.signal
    if ended.timed_out:
        say(f"the machine was ended: its {ready.request.timeout:g} seconds were up")
        return EXIT_TIMEOUT
    if story.exit is not None:
        if story.exit.reason:
            say(f"the machine ended: {story.exit.reason}")
        return story.exit.status
    if ready.relying is not None and party is not None:
        _say_failure(ready.relying, ready.booted, party, console)
        if party.failure is not None:
            return EXIT_REFUSED
    if console.is_sealed:
        say("how the program ended is sealed to the relying party")
        return 0
    if console.exit_code is not None:
        if console.reason:
            say(f"the machine ended: {console.reason}")
        return console.exit_code
    return _without_a_word(ended, console)


def _say_failure(who: Relying, booted: tuple[Entry, ...], party: Party, console: Console) -> None:
    """Say why nothing was released, and what the guest thought of that."""
    if party.failure is not None:
        for line in (*boot_report.refusal(party.failure), *boot_report.differences(who.wanted, booted)):
            say(line)
    for line in console.said_by_launcher():
        say(f"guest: {line.removeprefix('shim: ')}")


def _without_a_word(ended: Ended, console: Console) -> int:
    for line in ended.qemu_errors.splitlines()[-3:]:
        say(f"QEMU: {line}")
    for line in console.lines[-5:]:
        say(f"console: {line}")
    how = "is off" if ended.qemu_status == 0 else f"ended with QEMU's status {ended.qemu_status}"
    say(f"the machine {how}, and its launcher did not say how the program ended")
    return EXIT_REFUSED


def _show(text: bytes, is_ours: bool) -> None:  # noqa: FBT001  # as `Console` calls it
    boot_report.write(2 if is_ours else 1, text)


def _with_arguments(image: BootImage, arguments: tuple[str, ...]) -> BootImage:
    if not arguments:
        return image
    more = tuple(argument.encode(errors="surrogateescape") for argument in arguments)
    return image.with_plan(lambda plan: replace(plan, argv=(*plan.argv, *more)))


def _extra(request: Request, image: BootImage) -> tuple[qemu.Part, ...]:
    """Return a network where the plan wants one."""
    wants = image.planned().network is not None
    if request.publish and not wants:
        raise click.UsageError("found --publish, want an image with a network: shim build --network dhcp")
    rules = []
    for text in request.publish:
        ours, _, theirs = text.partition(":")
        if not (ours.isdecimal() and theirs.isdecimal()):
            raise click.BadParameter(f"found {text!r}, want PORT:PORT", param_hint="--publish")
        rules.append(f"tcp:127.0.0.1:{ours}-:{theirs}")
    return (qemu.network(rules),) if wants else ()


def _output_of(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except OSError as error:
        want = "QEMU: apt install qemu-system-x86"
        raise QemuError(command[0], error.strerror or "no program", want) from error
    except subprocess.TimeoutExpired as error:
        raise QemuError(command[0], "no answer", f"one within {_PROBE_SECONDS} seconds") from error
    return done.stdout.decode(errors="replace")
