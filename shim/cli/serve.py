"""`shim serve`: the relying party, and what manages its resources and its audit log."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.arguments import ENDORSEMENTS, NO_STORE, STORE
from shim.cli.serve_channel import ChannelOptions, channel_options
from shim.errors import FoundWantError

if TYPE_CHECKING:
    from attestation.relying_party.audit import Head
    from attestation.relying_party.ledger import Ledger

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class MissingLibraryError(FoundWantError):
    """A library that only this command needs is not installed."""


def address(text: str) -> tuple[str, int]:
    """Return host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise click.BadParameter(f"found {text!r}, want HOST:PORT, such as 127.0.0.1:8080 or [::]:8080")
    return host.strip("[]"), int(port)


def head(text: str) -> Head:
    """Return where a chain of the audit log ended once."""
    from attestation.relying_party.audit import parse_head

    try:
        return parse_head(text)
    except ValueError as error:
        raise click.BadParameter(f"found {text!r}, want a line that --verify-audit printed") from error


@click.command("serve")
@click.option(
    "--policy",
    "policy_texts",
    multiple=True,
    metavar="[NAME=]FILE",
    help="What is accepted; resources name policies. Repeatable.",
)
@click.option(
    "--resource",
    "resource_texts",
    multiple=True,
    metavar="NAME[@POLICY]=FILE",
    help="Keep this, and release it by its policy. Repeatable.",
)
@click.option(
    "--database",
    metavar="FILE|URL",
    help="Where resources, nonces and the audit log are kept: a file, or postgresql://...",
)
@click.option(
    "--database-key",
    type=_FILE,
    metavar="FILE",
    help="Keys of 64 hexadecimal digits, the one in use first.  "
    "[default: the systemd credential shim-database-key]",
)
@click.option(
    "--instance",
    metavar="NAME",
    default=platform.node,
    show_default="the host's name",
    help="Whose chain of the audit log is extended.",
)
@click.option("--listen", type=address, metavar="HOST:PORT", default="127.0.0.1:8080", show_default=True)
@click.option(
    "--monitor",
    type=address,
    metavar="HOST:PORT",
    help="Where /live, /health and /metrics are, without TLS.  [default: beside everything else]",
)
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="With its chain, PEM.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its private key, PEM.")
@click.option(
    "--ear-key",
    type=_FILE,
    metavar="FILE",
    help="Signs tokens: P-256, P-384 or Ed25519, PEM.  [default: one that is made now]",
)
@click.option(
    "--ear-profile",
    type=click.Choice(["veraison", "trustee", "ietf"]),
    default="veraison",
    show_default=True,
    help="How the claims of tokens are spelled.",
)
@ENDORSEMENTS
@STORE
@NO_STORE
@click.option(
    "--challenge-lifetime",
    type=click.IntRange(1, 86400),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="From a nonce to its evidence.",
)
@click.option(
    "--session-lifetime",
    type=click.IntRange(1, 86400),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long an affirmed machine may fetch, and its token counts.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Requests a second from one address; 0 for no limit.",
)
@click.option("--burst", type=click.FloatRange(1), default=100.0, show_default=True, help="At once.")
@channel_options
@click.option(
    "--put-resource", "put_texts", multiple=True, metavar="NAME[@POLICY]=FILE", help="Keep this, and end."
)
@click.option("--remove-resource", "removed", multiple=True, metavar="NAME", help="Forget this, and end.")
@click.option("--list-resources", "list_them", is_flag=True, help="Names, versions and policies, and end.")
@click.option(
    "--clock-was-ahead",
    is_flag=True,
    help="Serve again, where a clock that was ahead keeps nonces from counting, and end.  "
    "Wait for the longest --challenge-lifetime first.",
)
@click.option("--verify-audit", is_flag=True, help="Check the whole audit log, print where it ends, and end.")
@click.option(
    "--expect",
    "noted",
    type=head,
    multiple=True,
    metavar="LINE",
    help="With --verify-audit: what it printed before; has to be part of the log still.",
)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    policy_texts: tuple[str, ...],
    resource_texts: tuple[str, ...],
    database: str | None,
    database_key: Path | None,
    instance: str,
    listen: tuple[str, int],
    monitor: tuple[str, int] | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    ear_key: Path | None,
    ear_profile: str,
    endorsement_paths: tuple[Path, ...],
    store_path: Path | None,
    no_store: bool,
    challenge_lifetime: int,
    session_lifetime: int,
    rate: float,
    burst: float,
    put_texts: tuple[str, ...],
    removed: tuple[str, ...],
    list_them: bool,
    clock_was_ahead: bool,
    verify_audit: bool,
    noted: tuple[Head, ...],
    channel: ChannelOptions,
) -> None:
    """
    Appraise machines by policies, and release to them what they may have.

    A machine asks for a nonce, answers with evidence, and gets a signed token and the resource, sealed to the
    key that its evidence vouches for (`shim attest --url`).  Guests of Confidential Containers are served
    under /kbs/v0, by policies with binding = "exact"; guests that shim boot relays for at --channel.  SIGTERM
    ends it when all that was begun is answered.

    Exit codes: 0 done; 1 the database cannot be used, or the audit log is not what was written; 2 usage.
    """
    serve_store = _loaded("serve_store")
    managing = bool(put_texts or removed or list_them or clock_was_ahead or verify_audit)
    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key belong together")
    channel.check()
    if noted and not verify_audit:
        raise click.UsageError("--expect means nothing without --verify-audit")
    if managing and database is None:
        raise click.UsageError("found no --database, want the one that is meant")
    if not managing and not policy_texts:
        raise click.UsageError("found no --policy, want at least one")
    policies = serve_store.policies(policy_texts)
    given = tuple(serve_store.given_resource(text) for text in (*resource_texts, *put_texts))
    with _ledger(database, database_key, instance) as ledger:
        for line in (*serve_store.put(ledger, given, policies), *serve_store.remove(ledger, removed)):
            _say(line)
        if clock_was_ahead:
            _say(serve_store.set_clock_back(ledger))
        if managing:
            _show(ledger, list_them=list_them, verify_audit=verify_audit, noted=noted)
            return
        _check_policies(ledger, set(policies))
        serving = _loaded("serving")
        serving.serve(
            ledger,
            serving.Setting(
                listening=serving.Listening(*listen, serving.certificate(tls_certificate, tls_key), monitor),
                policies=policies,
                ear_key=ear_key,
                ear_profile=ear_profile,
                endorsements=endorsement_paths,
                store=store_path,
                no_store=no_store,
                challenge_lifetime=challenge_lifetime,
                session_lifetime=session_lifetime,
                rate=rate,
                burst=burst,
                channel=channel,
                channel_address=None if channel.channel is None else address(channel.channel),
            ),
        )


def _loaded(name: str) -> Any:  # noqa: ANN401  # a module of this folder
    """
    Import a module that needs the libraries of the service.

    Raises:
        MissingLibraryError: one of them is not installed.
    """
    try:
        return importlib.import_module(f"shim.cli.{name}")
    except ModuleNotFoundError as error:
        want = "it: pip install 'tee-shim[serve]'"
        raise MissingLibraryError("shim serve", f"no module {error.name}", want) from error


@contextlib.contextmanager
def _ledger(where: str | None, key: Path | None, instance: str) -> Iterator[Ledger]:
    """Open the database that is meant; without one, one that is gone at the end."""
    from attestation.relying_party.ledger import Ledger

    serve_store = _loaded("serve_store")
    with contextlib.ExitStack() as stack:
        keys = serve_store.keyring(key, os.environ)
        if where is None:
            _say("no --database: resources, nonces and the audit log are gone when this ends")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shim-serve-"))
            where, keys = f"{folder}/database", keys or serve_store.fresh_keyring()
        if keys is None:
            raise click.UsageError("found no --database-key, want the file of the keys of this database")
        database = serve_store.database(where)
        stack.callback(database.close)
        yield Ledger(database, keys, instance)


def _show(ledger: Ledger, *, list_them: bool, verify_audit: bool, noted: tuple[Head, ...]) -> None:
    from attestation.relying_party import audit, resources

    if list_them:
        for label in resources.labels(ledger.database):
            click.echo(f"{label.name}  version {label.version}  policy {label.policy}")
    if verify_audit:
        for end in audit.verify(ledger.database, ledger.keys, noted):
            click.echo(str(end))


def _check_policies(ledger: Ledger, known: set[str]) -> None:
    """Say at the start what will not be released, and not only when somebody asks for it."""
    from attestation.relying_party import resources
    from attestation.relying_party.requirement import AND

    for label in resources.labels(ledger.database):
        for name in label.policy.split(AND):
            if name not in known:
                _say(f"{label.name} is not released: found no --policy {name}, want one")


def _say(line: str) -> None:
    from shim.cli.main import say

    say(line)
