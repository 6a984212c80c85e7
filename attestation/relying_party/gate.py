"""
What every request has to pass before anybody reads it: counted, limited in rate and size, answered as JSON.

A plain ASGI application around another.  What goes wrong inside becomes a status and one word; the reason
goes to whoever runs the service.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attestation.relying_party.errors import (
    RefusedError,
    RelyingPartyError,
    RequestError,
    StoreIntegrityError,
    UnavailableError,
)
from attestation.relying_party.metrics import Metrics
from attestation.relying_party.rate import RateLimit
from shim.canonical import JsonValue

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Endpoint = Callable[[Request], Awaitable[Response]]
Report = Callable[[str], None]
_ROUTE = "shim.route"
_NAMES = {
    400: "malformed request",
    404: "not found",
    405: "method not allowed",
    408: "too slow",
    413: "too large",
    415: "another media type",
    429: "too often",
}


class TooLargeError(RelyingPartyError):
    """A body above the limit; the rest of it is not read."""

    status = 413
    word = _NAMES[413]


class TooSlowError(RelyingPartyError):
    """A body that did not arrive in time."""

    status = 408
    word = _NAMES[408]


class MediaTypeError(RelyingPartyError):
    """A body of another type than JSON."""

    status = 415
    word = _NAMES[415]


class Gate:
    """Counts and limits what comes to an application."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, limit: RateLimit, free: frozenset[str] = frozenset()
    ) -> None:
        """Stand before `app`; paths that are `free` cost next to nothing, and nobody is limited there."""
        self._app, self._metrics, self._limit, self._free = app, metrics, limit, free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application do it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._limit.seconds()
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            if scope["path"] in self._free or self._limit.allows(peer(scope)):
                await self._app(scope, receive, counted)
            else:
                await problem(429, headers={"Retry-After": "1"})(scope, receive, counted)
        # The pattern that matched, never the path: a client may not make names of metrics.
        route = str(scope.get(_ROUTE, "none"))
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(self._limit.seconds() - started)


def peer(scope: Scope) -> str:
    """Return the address of whoever is connected."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def body(request: Request, limit: int, timeout: float) -> bytes:  # noqa: ASYNC109  # it ends in an answer
    """
    Return the body of a request, never more than `limit` bytes of it, within `timeout` seconds.

    Raises:
        TooLargeError, TooSlowError, MediaTypeError: see there.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > limit:
        raise TooLargeError
    found = b""
    try:
        async with asyncio.timeout(timeout):
            async for part in request.stream():
                found += part
                if len(found) > limit:
                    raise TooLargeError
    except TimeoutError as error:
        raise TooSlowError from error
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if found and media != "application/json":
        raise MediaTypeError
    return found


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """
    Return a route for one method alone.

    The framework takes HEAD for GET as well: that would release a resource, and throw it away.
    """

    async def named(request: Request) -> Response:
        request.scope[_ROUTE] = path
        return await endpoint(request)

    made = Route(path, named, methods=[method])
    made.methods = {method}
    return made


def answered(
    endpoint: Endpoint, report: Report, *, refusal: Callable[[RelyingPartyError], Response]
) -> Endpoint:
    """Return an endpoint whose errors become answers, as `refusal` words them."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except (UnavailableError, StoreIntegrityError) as error:
            report(str(error))
            return refusal(error)
        except RelyingPartyError as error:
            return refusal(error)
        except Exception as error:  # noqa: BLE001  # a bug of ours must not tell a client about it
            report(f"internal: {type(error).__name__}: {error}")
            return problem(500)

    return answer


def refusal(error: RelyingPartyError) -> Response:
    """Return an error as a client may see it: a word, the verdict, and what of its own request was wrong."""
    more: dict[str, JsonValue] = {}
    if isinstance(error, RefusedError):
        more["verdict"] = error.verdict.value
    elif isinstance(error, RequestError):
        more["detail"] = str(error)[:500]
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return problem(error.status, error.word, more, headers)


def problem(
    status: int, word: str = "", more: Mapping[str, JsonValue] = {}, headers: Mapping[str, str] = {}
) -> Response:
    """Return an answer that is an error."""
    return as_json({"error": word or _NAMES.get(status, "internal"), **more}, status, headers)


def as_json(value: JsonValue, status: int = 200, headers: Mapping[str, str] = {}) -> Response:
    """Return an answer in JSON."""
    text = json.dumps(value, separators=(",", ":"))
    return Response(text, status, {**HEADERS, **headers}, media_type="application/json")


async def of_framework(_request: Request, error: Exception) -> Response:
    """Return what the framework refuses, an unknown path or method, as everything else is refused."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) and error.headers else {}
    return problem(status, headers=headers)
