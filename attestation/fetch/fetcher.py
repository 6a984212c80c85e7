"""
How does an endorsement come into a store?

The recipe: is it there for good, whose certificates does it take, may the service be asked, is the answer
new, and is it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from urllib.parse import unquote

from attestation.errors import AttestationError, AuthenticationError
from attestation.fetch import retry, services
from attestation.fetch.errors import FetchError, TemporaryError, WrongAnswerError
from attestation.fetch.pace import Pace
from attestation.fetch.services import Services
from attestation.fetch.timing import Patience, Timing
from attestation.fetch.transport import Response, Transport
from attestation.store.entry import Kept
from attestation.store.store import Store
from attestation.wanted import Answer, Wanted

_OK, _NOT_MODIFIED, _NOT_FOUND = 200, 304, 404
_TEMPORARY = frozenset({429, 500, 502, 503, 504})
_SHOWN = 24
_LONGEST_TAG = 1024


class State(Enum):
    """What became of an endorsement that was wanted."""

    KEPT = "kept"  # it was there, and stays right
    UNCHANGED = "unchanged"  # the service says that there is no other
    STORED = "stored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an endorsement, and why it failed, if it did."""

    wanted: Wanted
    state: State
    error: AttestationError | None = None


@dataclass(frozen=True, slots=True)
class Fetcher:
    """
    Everything that it takes.

    Attributes:
        store: Where right answers go.
        services: Whom to ask.
        transport: How.
        pace: How often.
        timing: Clocks and chance.
        patience: How long to wait.
        silent: The services that used up all patience once; each further question to them is asked once.
    """

    store: Store
    services: Services
    transport: Transport
    pace: Pace
    timing: Timing
    patience: Patience = field(default_factory=Patience)
    silent: set[str] = field(default_factory=set)

    def fetch_all(self, wanted: Iterable[Wanted]) -> Iterator[Outcome]:
        """Yield what becomes of each; one that fails stops no other, unless nothing can be kept."""
        for one in wanted:
            try:
                yield Outcome(one, self.fetch(one)[1])
            except (FetchError, AuthenticationError) as error:
                yield Outcome(one, State.FAILED, error)

    def fetch(self, wanted: Wanted) -> tuple[Kept, State]:
        """
        Return an endorsement that is in the store then, and how it came there.

        Raises:
            FetchError: it cannot be had, or what was served is something else.
            StoreError: it cannot be kept.
        """
        kept = self.store.find(wanted.url)
        if kept is not None and wanted.lasting and self._is_right(wanted, kept):
            return kept, State.KEPT
        deadline = self.timing.seconds() + self.patience.total
        issuers = b"" if wanted.issuers is None else self._issuers(wanted.issuers)
        address = self.services.address(wanted.url)
        response = self._ask(wanted, address, kept, deadline)
        if response.status == _NOT_MODIFIED and kept is not None:
            same = replace(kept, fetched=self.timing.wall())
            if self._is_right(wanted, kept):
                self.store.keep(same)
                return same, State.UNCHANGED
            response = self._ask(wanted, address, None, deadline)
        return self._admit(wanted, address, response, issuers), State.STORED

    def _issuers(self, wanted: Wanted) -> bytes:
        """Return the certificates that the answer to another question brings."""
        kept = self.store.find(wanted.url)
        if kept is None or not self._is_right(wanted, kept):
            kept, _ = self.fetch(wanted)
        answer = kept.answer
        return answer.issuers or answer.body

    def _is_right(self, wanted: Wanted, kept: Kept) -> bool:
        try:
            wanted.check(kept.answer, self.timing.wall())
        except AuthenticationError:
            return False
        return True

    def _ask(self, wanted: Wanted, address: str, kept: Kept | None, deadline: float) -> Response:
        """Return the answer of a service, new or "not modified"."""
        headers: dict[str, str] = {}
        if kept is not None and kept.source == address:  # another service's names say nothing here
            headers |= {"If-None-Match": kept.etag} if kept.etag else {}
            headers |= {"If-Modified-Since": kept.modified} if kept.modified else {}
        service = services.host(address)

        def once() -> Response:
            self.pace.enter(service, services.interval(address), deadline)
            end = min(deadline, self.timing.seconds() + self.patience.attempt)
            response = self.transport.ask(address, headers, limit=wanted.limit, deadline=end)
            return _checked(address, response, conditional=bool(headers))

        if service in self.silent:
            response = once()
            self.silent.discard(service)
            return response
        try:
            return retry.patiently(
                once, deadline, self.timing, self.patience, lambda seconds: self.pace.hold(service, seconds)
            )
        except TemporaryError:
            self.silent.add(service)
            raise

    def _admit(self, wanted: Wanted, address: str, response: Response, issuers: bytes) -> Kept:
        """Keep an answer if it is right."""
        if wanted.issuer_headers:
            found = [response.headers[name] for name in wanted.issuer_headers if name in response.headers]
            if not found:
                raise WrongAnswerError(address, "no issuer chain", f"a header {wanted.issuer_headers[0]}")
            issuers = unquote(found[0]).encode()
        at = self.timing.wall()
        served = Kept(
            wanted.url,
            Answer(response.body, issuers),
            at,
            at,
            address,
            _tag(response.headers.get("etag", "")),
            _tag(response.headers.get("last-modified", "")),
        )
        try:
            return self.store.admit(wanted, served, at)
        except AuthenticationError as error:
            found_type = response.headers.get("content-type", "no content type")
            found_text = f"{error.where}: {error.found} ({found_type}, {_beginning(response.body)})"
            raise WrongAnswerError(address, found_text, error.want, error.source) from error


def _checked(address: str, response: Response, *, conditional: bool) -> Response:
    """Return a response that can be used; the others are errors, some of them for now only."""
    status, headers = response.status, response.headers
    if status == _OK or (status == _NOT_MODIFIED and conditional):
        return response
    if status in _TEMPORARY:
        raise TemporaryError(
            address, f"status {status}", "status 200", retry_after=headers.get("retry-after", "")
        )
    if 300 <= status < 400 and "location" in headers:
        found = f"status {status}, a redirect to {headers['location'][:200]}"
        raise WrongAnswerError(address, found, "an answer from the service that was asked")
    known = ", which this service has nothing for" if status == _NOT_FOUND else ""
    raise WrongAnswerError(address, f"status {status}{known}", "status 200")


def _tag(value: str) -> str:
    """Return the value of a header if it can be sent back one day."""
    return value if value.isascii() and value.isprintable() and len(value) <= _LONGEST_TAG else ""


def _beginning(body: bytes) -> str:
    shown = body[:_SHOWN].decode("latin-1") if body[:1].isascii() else body[:_SHOWN].hex()
    return f"beginning {shown!r}" if body else "empty"
