"""The routes of the service, and what of HTTP each reads; `exchange` and `kbs` decide."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from attestation.relying_party import exchange, gate, kbs_web, openapi
from attestation.relying_party.errors import RefusedError, SessionError, UnavailableError
from attestation.relying_party.gate import Endpoint, Gate, Report
from attestation.relying_party.metrics import CONTENT_TYPE, Metrics
from attestation.relying_party.party import RelyingParty
from attestation.relying_party.rate import RateLimit
from attestation.verdict import Verdict
from shim.canonical import JsonValue

T = TypeVar("T")
_PRUNE_EVERY = 1000
_WELL_SECONDS = 1.0
_FREE = frozenset({"/live", "/health"})  # whoever shares an address with many has to be told all the same


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What one client may cost.

    Attributes:
        body: Bytes of one request.
        body_seconds: For the body to arrive.
        threads: Requests that are worked on at once; others wait.
    """

    body: int = exchange.LARGEST_REQUEST
    body_seconds: float = 10.0
    threads: int = 8


class Service:
    """The endpoints, around one relying party."""

    def __init__(
        self,
        party: RelyingParty,
        keys: Mapping[str, JsonValue],
        clock: Callable[[], datetime],
        report: Report,
        limits: Limits,
    ) -> None:
        """
        Make them.

        Args:
            party: Decides.
            keys: The public keys of tokens, as a JSON web key set.
            clock: The time, with its time zone.
            report: Is told what whoever runs the service should know.
            limits: What one client may cost.
        """
        self.party, self.clock, self.limits = party, clock, limits
        self.metrics = Metrics()
        self._keys, self._report = keys, report
        self._threads: CapacityLimiter | None = None
        self._watching: CapacityLimiter | None = None
        self._well_until = 0.0
        self._appraised = 0

    def app(self, limit: RateLimit, *, watched: bool = True) -> ASGIApp:
        """Return the whole application; if `watched`, with what `monitor_app` has."""
        routes = [
            self._route("POST", "/v1/challenge", self.challenge),
            self._route("POST", "/v1/attest", self.attest),
            self._route("GET", "/v1/resource/{name:path}", self.resource),
            self._route("GET", "/v1/keys", self.keys),
            self._route("GET", "/v1/openapi.json", self.description),
            *kbs_web.routes(self, self._report),
            *(self._monitor_routes() if watched else ()),
        ]
        return Gate(_framework(routes, self._lifespan), self.metrics, limit, free=_FREE)

    def monitor_app(self) -> ASGIApp:
        """Return what only those need who run the service: whether it lives and can release, and metrics."""
        return _framework(self._monitor_routes(), None)

    def _monitor_routes(self) -> list[Route]:
        return [
            self._route("GET", "/live", self.live),
            self._route("GET", "/health", self.health),
            self._route("GET", "/metrics", self.monitor),
        ]

    async def challenge(self, request: Request) -> Response:
        """Answer POST /v1/challenge."""
        body = await self.body(request, limit=1024)
        return gate.as_json(exchange.challenge(self.party, body, self.clock()))

    async def attest(self, request: Request) -> Response:
        """Answer POST /v1/attest."""
        body = await self.body(request)
        peer = gate.peer(request.scope)
        return gate.as_json(
            await self.appraised(lambda: exchange.attest(self.party, body, peer, self.clock()), releases=1)
        )

    async def resource(self, request: Request) -> Response:
        """Answer GET /v1/resource/NAME."""
        token, name, peer = bearer(request), request.path_params["name"], gate.peer(request.scope)
        found = await self.work(lambda: exchange.fetch(self.party, token, name, peer, self.clock()))
        self.metrics.releases.inc()
        return gate.as_json(found)

    async def keys(self, _request: Request) -> Response:
        """Answer GET /v1/keys."""
        return gate.as_json(self._keys)

    async def description(self, _request: Request) -> Response:
        """Answer GET /v1/openapi.json."""
        return gate.as_json(openapi.DOCUMENT)

    async def live(self, _request: Request) -> Response:
        """Answer GET /live: that the process does."""
        return gate.as_json({"status": "ok"})

    async def health(self, _request: Request) -> Response:
        """
        Answer GET /health: whether the store answers, and with it whether anything can be released.

        Beside the work, so that it is told also while very many wait; a good answer counts for a second.
        """
        if self._watching is None:
            raise UnavailableError("service", "one that has not started", "one that has")
        async with self._watching:
            if anyio.current_time() > self._well_until:
                await anyio.to_thread.run_sync(self.party.ledger.check)
                self._well_until = anyio.current_time() + _WELL_SECONDS
        return gate.as_json({"status": "ok"})

    async def monitor(self, _request: Request) -> Response:
        """Answer GET /metrics."""
        return Response(self.metrics.text(), headers={**gate.HEADERS, "Content-Type": CONTENT_TYPE})

    async def body(self, request: Request, *, limit: int | None = None) -> bytes:
        """Return the body of a request, within the limits."""
        return await gate.body(request, limit or self.limits.body, self.limits.body_seconds)

    async def work(self, task: Callable[[], T]) -> T:
        """Return what a task returns that takes time or waits for the disk."""
        if self._threads is None:
            raise UnavailableError("service", "one that has not started", "one that has")
        return await anyio.to_thread.run_sync(task, limiter=self._threads)

    async def appraised(self, task: Callable[[], T], *, releases: int) -> T:
        """Return what an attestation returns, and count its verdict."""
        try:
            found = await self.work(task)
        except RefusedError as error:
            self.metrics.attestations.labels(error.verdict.value).inc()
            await self._prune()
            raise
        self.metrics.attestations.labels(Verdict.AFFIRMING.value).inc()
        await self._prune()
        self.metrics.releases.inc(releases)
        return found

    async def _prune(self) -> None:
        """Forget what is long over, once in a thousand times."""
        self._appraised += 1
        if self._appraised % _PRUNE_EVERY:
            return
        try:
            await self.work(lambda: self.party.ledger.prune(now=int(self.clock().timestamp())))
        except UnavailableError as error:
            self._report(str(error))

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        return gate.route(method, path, gate.answered(endpoint, self._report, refusal=gate.refusal))

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._threads, self._watching = CapacityLimiter(self.limits.threads), CapacityLimiter(1)
        yield


def _framework(routes: list[Route], lifespan: Lifespan[Starlette] | None) -> Starlette:
    handlers = {404: gate.of_framework, 405: gate.of_framework, 500: gate.of_framework}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def bearer(request: Request) -> str:
    """
    Return the token that a request brings.

    Raises:
        SessionError: it brings none.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SessionError("no token")
    return token.strip()
