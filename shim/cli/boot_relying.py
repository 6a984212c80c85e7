"""Who releases the secret of a machine, by which policy and key?"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from images.boot.choice import Technology
from images.boot.errors import BootError
from shim.cli import boot_report
from shim.cli.boot_party import Embedded, Party, Remote
from shim.launch.machine import ChannelKind, EvidenceKind

if TYPE_CHECKING:
    from attestation.channel.session import Terms
    from attestation.reference_values import Entry
    from shim.cli.boot_image import BootImage
    from shim.cli.boot_request import Request
    from shim.cli.boot_tpm import SoftwareTpm

_URL = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@]+)):(\d{1,5})/?")


@dataclass(frozen=True, slots=True)
class Relying:
    """
    Who answers on the channel of a machine.

    Attributes:
        port: Name of the virtio-serial port.
        is_simulated: Whether a TEE is played for it.
        wanted: What is expected of its evidence.
        terms: What a guest has to be, and what it gets; None for a relying party elsewhere.
        address: Of that one.
        secret_size: In bytes.
    """

    port: str
    is_simulated: bool
    wanted: tuple[Entry, ...]
    terms: Terms | None
    address: tuple[str, int]
    secret_size: int

    def party(self, story: boot_report.Story, tell: Callable[[str], None]) -> Party:
        """Return a new conversation."""
        from attestation.channel.session import Session

        if self.terms is None:
            return Remote(self.address, time.monotonic, tell)
        session = Session(self.terms, _now(), secrets.token_bytes)
        return Embedded(
            session,
            _now,
            story.deliver,
            lambda result: tell(boot_report.affirmed(result, self.secret_size)),
        )


def with_key(request: Request, image: BootImage) -> tuple[BootImage, object | None]:
    """
    Return the image with the key of this boot's relying party in its plan, and the key.

    Raises:
        UsageError: options for a relying party, and an image that has none.
        BootError: the plan names another key, or a channel that is not relayed here.
        ReleaseKeyError, InputFileError: the key cannot be used.
    """
    from attestation.channel import signing_key
    from shim.cli.measure_input import MAXIMUM_KEY, read

    channel = image.planned().channel
    if channel is None:
        names = ("secret", "key", "policy", "reference_values", "url", "events")
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(request, name) is not None]
        if given:
            want = "one that has: shim build --relying-party-key FILE"
            raise click.UsageError(
                f"{image.where}: found {', '.join(given)} and no relying party in it, want {want}"
            )
        return image, None
    if channel.kind is not ChannelKind.VIRTIO:
        raise BootError(
            f"{image.where}: channel", channel.kind.name.lower(), "virtio: the others need no relay"
        )
    if request.url is not None:
        return image, None
    if request.key is not None:
        key = signing_key.load(read(request.key, "key", MAXIMUM_KEY), str(request.key))
        ours = signing_key.public_half(key)
        if ours != channel.relying_party:
            raise BootError(
                f"{image.where}: key of its relying party",
                channel.relying_party.hex(),
                f"{ours.hex()}, of {request.key}",
            )
        return image, key
    if image.form != "initramfs" or request.reference_values is not None:
        raise click.UsageError(
            f"{image.where}: found no --key, want the one whose public half it was built with: "
            "here none can be put into it"
        )
    key = signing_key.from_seed(secrets.token_bytes(32))
    mine = replace(channel, relying_party=signing_key.public_half(key))
    changed = image.with_plan(lambda plan: replace(plan, channel=mine))
    return changed, key


def relying(  # what terms are made of
    request: Request,
    image: BootImage,
    key: object | None,
    booted: tuple[Entry, ...],
    by: Technology,
    tpm: SoftwareTpm | None,
) -> Relying | None:
    """
    Return who answers, or None for an image without a channel.

    Args:
        request: What the user asks for.
        image: What is booted, with the key in it.
        key: From `with_key`.
        booted: What evidence of this boot will say.
        by: What measures it.
        tpm: The TPM in software that it gets.

    Raises:
        BootError: evidence that this machine does not have.
        PolicyError, ReferenceValueError: what is expected cannot be used.
        BadParameter: a URL that is none.
    """
    channel = image.planned().channel
    if channel is None:
        return None
    is_simulated = channel.evidence is EvidenceKind.SIMULATED
    wanted = _wanted(request, booted)
    secret = _secret(request)
    terms = (
        None
        if request.url is not None
        else _terms(request, image, key, wanted, by, secret, tpm=tpm, plain_output=channel.plain_output)
    )
    return Relying(channel.name.decode(), is_simulated, wanted, terms, _address(request.url), len(secret))


def wants_tpm(image: BootImage) -> bool:
    """Whether the image was built to show a TPM's quote."""
    channel = image.planned().channel
    return channel is not None and channel.evidence is EvidenceKind.TPM


def measured_by(image: BootImage, technology: Technology) -> Technology:
    """
    Return what speaks for a machine: hardware, or whoever plays a TEE where the image was built for that.

    Raises:
        BootError: the image wants evidence that no machine has here.
    """
    channel = image.planned().channel
    if channel is None or channel.evidence is EvidenceKind.SIMULATED:
        return Technology.TCG
    if channel.evidence is EvidenceKind.TSM and not technology.is_confidential:
        want = "SEV-SNP or TDX, or an image that was built with --evidence simulated"
        raise BootError(f"{image.where}: evidence of a TEE", f"a machine by {technology}", want)
    return technology


def _terms(  # noqa: PLR0913  # what terms are made of
    request: Request,
    image: BootImage,
    key: object | None,
    wanted: tuple[Entry, ...],
    by: Technology,
    secret: bytes,
    *,
    tpm: SoftwareTpm | None,
    plain_output: bool,
) -> Terms:
    from attestation import endorsements
    from attestation.channel.releases import MemoryReleases
    from attestation.channel.session import Terms
    from attestation.endorsements import Endorsements
    from attestation.files import read_endorsements
    from shim.cli.boot_policy import policy_of

    maker = Endorsements() if tpm is None else endorsements.parse(tpm.certificates)
    return Terms(
        policy_of(by, wanted, request.policy, None if tpm is None else tpm.root_sha256),
        read_endorsements(request.endorsement_paths) | maker,
        frozenset({image.plan_digest}),
        key,  # type: ignore[arg-type]  # its type is of a library that only attestation imports
        MemoryReleases(secret),
        plain_output=plain_output,
    )


def _wanted(request: Request, booted: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if request.reference_values is None:
        return booted
    from attestation.reference_files import parse_reference_values, read

    where = str(request.reference_values)
    entries = parse_reference_values(read(request.reference_values), where, None).entries
    kinds = {(entry.tee, entry.register) for entry in booted}
    found = tuple(entry for entry in entries if (entry.tee, entry.register) in kinds)
    missing = kinds - {(entry.tee, entry.register) for entry in found}
    if missing:
        named = ", ".join(f"{register} of {tee}" for tee, register in sorted(missing))
        raise BootError(where, f"no {named}", "the values that shim build wrote for this image")
    return found


def _secret(request: Request) -> bytes:
    from attestation.channel.frames import MAX_SECRET
    from shim.cli.measure_input import read

    return b"" if request.secret is None else read(request.secret, "secret", MAX_SECRET)


def _address(url: str | None) -> tuple[str, int]:
    if url is None:
        return "", 0
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        raise click.BadParameter(f"found {url!r}, want tcp://HOST:PORT", param_hint="--url")
    return found[1] or found[2], int(found[3])


def _now() -> datetime:
    return datetime.now(UTC)
