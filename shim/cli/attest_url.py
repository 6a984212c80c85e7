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
    """

    url: str
    resource: str
    output: str
    token: str | None
    tls_ca: Path | None
    public_key: Path | None
    plan_digest: bytes


def attest(asked: Asked, collect: Callable[[bytes], Collected]) -> tuple[Collected, list[str]]:
    """
    Write what is released, and return the evidence and a line that says so.

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

    key_of_ours = secrets.token_bytes(32)
    answer = client.attest(server, asked.resource, kept, key_of_ours, plan_digest=asked.plan_digest)
    if asked.token is not None:
        write_output(asked.token, answer.token.encode("ascii") + b"\n")
    write_output(asked.output, answer.value)
    line = f"{len(answer.value)} bytes of {asked.resource}, version {answer.version}: {asked.output}"
    return collected[-1], [line]
