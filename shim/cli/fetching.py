"""What `shim fetch` does with the network, the clock and the disk, and what it says of it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import click

from attestation.errors import AuthenticationError
from attestation.fetch.errors import FetchError
from attestation.fetch.services import Services, base, host
from attestation.fetch.timing import Patience, Timing
from attestation.files import read_limited
from attestation.needed import named
from attestation.store import archive
from attestation.store.store import Store
from attestation.wanted import Wanted
from shim.canonical import JsonValue, canonical_bytes
from shim.cli.endorsing import store_directory
from shim.cli.files import write_output
from shim.errors import FoundWantError, one_line

if TYPE_CHECKING:
    from attestation.fetch.http_transport import HttpTransport

_TOLD = 2.0  # seconds: shorter pauses are not worth a line


class MissingLibraryError(FoundWantError):
    """A library that only this command needs is not installed."""


def store_at(path: Path | None) -> Store:
    """
    Return the store that the user means.

    Raises:
        click.UsageError: none was named, and the environment names no place.
    """
    directory = path or store_directory(os.environ)
    if directory is None:
        raise click.UsageError("found neither HOME nor XDG_CACHE_HOME, want --store DIRECTORY")
    return Store(directory)


def services(kds: str | None, pcs: str | None, pccs: str | None) -> Services:
    """
    Return whom to ask.

    Raises:
        click.BadParameter: one of them is no URL.
    """
    if pcs and pccs:
        raise click.UsageError("--pcs and --pccs: want one of them")
    given = {name: value for name, value in (("kds", kds), ("pcs", pcs), ("pccs", pccs)) if value is not None}
    try:
        return Services(**{name: base(value) for name, value in given.items()})
    except FetchError as error:
        raise click.BadParameter(f"found {error.found}, want {error.want}") from error


def fetch(  # noqa: PLR0913  # what a fetch depends on, each apart
    store: Store,
    asked: Services,
    wanted: Sequence[Wanted],
    output: str,
    *,
    tls_ca: Path | None,
    max_time: float,
    at: datetime,
) -> int:
    """Fetch what is wanted, say of each what became of it, and return the exit code."""
    from attestation.fetch.fetcher import Fetcher, State
    from attestation.fetch.pace import Pace

    started = time.monotonic()

    def wall() -> datetime:
        """Return the time to judge at, which goes on as the clock does."""
        return datetime.fromtimestamp(at.timestamp() + time.monotonic() - started, UTC)

    timing = Timing(wall, time.monotonic, _sleep, random.random)
    pace = Pace(store.root / "pace", Timing(lambda: datetime.now(UTC), time.monotonic, _sleep, random.random))
    transport = _transport(tls_ca)
    fetcher = Fetcher(store, asked, transport, pace, timing, Patience(total=max_time))
    failed = False
    try:
        for outcome in fetcher.fetch_all(wanted):
            failed |= outcome.state is State.FAILED
            error = "" if outcome.error is None else str(outcome.error)
            _say(output, outcome.state.value, outcome.wanted, asked.address(outcome.wanted.url), error)
    finally:
        transport.close()
    store.prune(datetime.now(UTC))
    return int(failed)


def _transport(tls_ca: Path | None) -> HttpTransport:
    try:
        from attestation.fetch.http_transport import HttpTransport
    except ModuleNotFoundError as error:
        want = "it: pip install 'tee-shim[fetch]'"
        raise MissingLibraryError("shim fetch", f"no module {error.name}", want) from error
    return HttpTransport(time.monotonic, authorities=tls_ca, proxy=_proxy)


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    proxies = getproxies()
    return None if proxy_bypass(host(url)) else proxies.get(url.partition(":")[0])


def _sleep(seconds: float) -> None:
    if seconds >= _TOLD:
        click.echo(
            f"shim: waiting {seconds:.0f} seconds, as the service wants or because it failed", err=True
        )
    time.sleep(seconds)


def preview(store: Store, asked: Services, wanted: Iterable[Wanted], output: str) -> int:
    """Say what is there and what would be asked, and return the exit code: 1 if something is missing."""
    missing = False
    for one in wanted:
        kept = store.find(one.url)
        missing |= kept is None
        state = "missing" if kept is None else f"kept since {kept.fetched:%Y-%m-%d}"
        _say(output, state, one, asked.address(one.url), "")
    return int(missing)


def export(store: Store, path: str) -> int:
    """Write all that is kept to one file."""
    kept = list(store.everything())
    write_output(path, archive.dumps(kept))
    click.echo(f"shim: {len(kept)} endorsements", err=True)
    return 0


def restore(store: Store, path: Path, at: datetime, output: str) -> int:
    """Keep what is right of an archive, say what became of each, and return the exit code."""
    failed = False
    for kept in archive.loads(read_limited(path, "archive", archive.LARGEST)):
        wanted = named(kept.url)
        try:
            store.admit(wanted, kept, at)
        except AuthenticationError as error:
            failed = True
            _say(output, "failed", wanted, kept.source, str(error))
        else:
            _say(output, "stored", wanted, kept.source, "")
    return int(failed)


def _say(output: str, state: str, wanted: Wanted, address: str, error: str) -> None:
    if output == "json":
        line: dict[str, JsonValue] = {
            "state": state,
            "endorsement": wanted.title,
            "url": wanted.url,
            "asked": address,
            "error": error or None,
        }
        click.echo(canonical_bytes(line))
        return
    click.echo(f"{state:<9} {one_line(wanted.title)}")
    click.echo(f"{'':<9} {one_line(error or address)}")
