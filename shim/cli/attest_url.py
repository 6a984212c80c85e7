"""`shim attest --url`: what does the relying party release to this machine?"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.files import write_output
from shim.errors import FoundWantError

if TYPE_CHECKING:
    from attestation.collect import Collected


class MissingLibraryError(FoundWantError):
    """A library that only this use needs is not installed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Whom to ask, for what, and where it goes.

    Attributes:
        url: Of the relying party.
        resource: The name of what is asked for.
        output: The file that it goes to; "-" is standard output.
        token: The file that the signed token goes to, if one is wanted.
        tls_ca: Certificates to trust for TLS instead of the system's.
        public_key: The relying party's key for tokens.
        plan_digest: SHA-256 of the launch plan.
        event_log: Returns the firmware's log for evidence of a kind; None not to send one.
    """

    url: str
    resource: str
    output: str
    token: str | None
    tls_ca: Path | None
    public_key: Path | None
    plan_digest: bytes
    event_log: Callable[[str], bytes] | None


def attest(asked: Asked, collect: Callable[[bytes], Collected]) -> tuple[Collected, list[str]]:
    """
    Write what is released, and return the evidence and lines that say so.

    Raises:
        RelyingPartyRefusalError: refused, perhaps with a verdict.
        UnreachableError: no answer.
        NotAuthenticError: an answer that is not for this machine, or not from the relying party.
        MissingLibraryError: httpcore is not installed.
    """
    try:
        from attestation import client
    except ModuleNotFoundError as error:
        want = "it: pip install 'tee-shim[serve]'"
        raise MissingLibraryError("shim attest --url", f"no module {error.name}", want) from error
    from attestation.files import read_limited

    if not asked.url.startswith(("http://", "https://")):
        raise click.BadParameter(f"found {asked.url!r}, want http:// or https://", param_hint="--url")
    key = None if asked.public_key is None else read_limited(asked.public_key, "relying party's key")
    server = client.Server(asked.url.rstrip("/"), asked.tls_ca, key)
    collected: list[Collected] = []

    def kept(report_data: bytes) -> Collected:
        collected.append(collect(report_data))
        return collected[-1]

    lines: list[str] = []
    answer = client.attest(
        server,
        asked.resource,
        kept,
        secrets.token_bytes(32),
        plan_digest=asked.plan_digest,
        event_log=lambda found: _log(asked, found.kind, lines),
    )
    if asked.token is not None:
        write_output(asked.token, answer.token.encode("ascii") + b"\n")
    write_output(asked.output, answer.value)
    lines.append(f"{len(answer.value)} bytes of {asked.resource}, version {answer.version}: {asked.output}")
    return collected[-1], lines


def _log(asked: Asked, kind: str, lines: list[str]) -> bytes | None:
    """Return the firmware's log where there is one, and say whether it is sent; a policy may need none."""
    from attestation.errors import CollectError
    from attestation.eventlog.collect import has_log

    if asked.event_log is None or not has_log(kind):
        return None
    try:
        found = asked.event_log(kind)
    except CollectError as error:
        lines.append(f"no event log is sent: {error}")
        return None
    lines.append(f"{len(found)} bytes of event log are sent with it")
    return found
