"""`shim serve --channel`: guests of docs/protocol.md, beside the service over HTTP."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from shim.cli.arguments import hexadecimal

if TYPE_CHECKING:
    from attestation.channel.messages import Record
    from attestation.channel.session import Session
    from attestation.relying_party.channel import Offer

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What the user says of the channel; the fields are the options of `channel_options`."""

    channel: str | None
    channel_key: Path | None
    channel_resource: str | None
    channel_plan: tuple[bytes, ...]
    channel_plain_output: bool
    channel_output: Path | None

    def check(self) -> None:
        """
        Refuse a channel without what it needs, and the rest without a channel.

        Raises:
            UsageError: so it is.
        """
        needed = ("channel", "channel_key", "channel_resource", "channel_plan")
        given = [name for name in self.__slots__ if getattr(self, name)]
        missing = [f"--{name.replace('_', '-')}" for name in needed if name not in given]
        if given and missing:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise click.UsageError(f"found {named}, want {', '.join(missing)} beside it")


def channel_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the channel, as `channel`."""

    @click.option(
        "--channel",
        metavar="HOST:PORT",
        help="Serve guests there that were built with --relying-party-key (shim boot --url tcp://HOST:PORT).",
    )
    @click.option("--channel-key", type=_FILE, metavar="FILE", help="Its private half: Ed25519, PEM.")
    @click.option("--channel-resource", metavar="NAME", help="The resource that is their secret.")
    @click.option(
        "--channel-plan",
        type=hexadecimal(32),
        multiple=True,
        metavar="HEX",
        help="SHA-256 of a plan that it is for, as shim build prints it; repeatable.",
    )
    @click.option("--channel-plain-output", is_flag=True, help="Those plans were built with --plain-output.")
    @click.option(
        "--channel-output",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep what each guest says in a folder there, named by its nonce; dropped otherwise.",
    )
    @functools.wraps(command)
    def with_channel(**given: Any) -> None:  # noqa: ANN401  # one type per option
        options = ChannelOptions(**{name: given.pop(name) for name in ChannelOptions.__slots__})
        command(channel=options, **given)

    return with_channel


def offer_of(options: ChannelOptions, endorsements: tuple[Path, ...]) -> Offer:
    """
    Return what guests may have.

    Raises:
        ReleaseKeyError, EvidenceFormatError: a file cannot be used.
    """
    from attestation.channel import signing_key
    from attestation.files import read_endorsements, read_limited
    from attestation.relying_party.channel import Offer

    if options.channel_key is None or options.channel_resource is None:
        raise RuntimeError("not checked")
    key = signing_key.load(read_limited(options.channel_key, "key", 1 << 14), str(options.channel_key))
    return Offer(
        options.channel_resource,
        frozenset(options.channel_plan),
        key,
        read_endorsements(endorsements),
        options.channel_plain_output,
    )


class Keeper:
    """
    Files with what guests say: DIR/NONCE/stdout, stderr, events and exit.

    Args:
        folder: Where; None for nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def keep(self, session: Session, record: Record) -> None:
        """Append one record; raises OSError."""
        from attestation.channel.messages import Event, Exit, Output

        if self._folder is None:
            return
        place = self._folder / session.nonce.hex()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        match record:
            case Output(stream, data):
                self._append(place / ("stdout" if stream == 1 else "stderr"), data)
            case Event(text):
                self._append(place / "events", text.rstrip("\n").encode() + b"\n")
            case Exit(status, reason):
                self._append(place / "exit", f"{status} {reason}".strip().encode() + b"\n")

    def _append(self, path: Path, data: bytes) -> None:
        file: BinaryIO
        with path.open("ab") as file:
            file.write(data)
