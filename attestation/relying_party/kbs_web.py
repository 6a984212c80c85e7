"""The routes of the KBS protocol: its cookie, its statuses, and its form of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from attestation.relying_party import gate, kbs
from attestation.relying_party.errors import (
    RefusedError,
    ReleaseError,
    RelyingPartyError,
    RequestError,
    SessionError,
    UnavailableError,
)
from attestation.relying_party.gate import Endpoint, Report

if TYPE_CHECKING:
    from attestation.relying_party.web import Service

_PREFIX = "/kbs/v0"
_TYPE = "https://github.com/confidential-containers/kbs/errors"
# What guests know.  A released resource is 401 as well: that is what makes them attest anew.
_UNAUTHORIZED = (RequestError, RefusedError, SessionError, ReleaseError)


def routes(service: Service, report: Report) -> list[Route]:
    """Return the routes, around the same relying party."""

    async def auth(request: Request) -> Response:
        body = await service.body(request, limit=1 << 16)
        challenge, cookie = await service.work(lambda: kbs.auth(service.party, body, service.clock()))
        answer = gate.as_json(challenge)
        _set_cookie(answer, cookie, request, service.party.terms.challenge_lifetime)
        return answer

    async def attest(request: Request) -> Response:
        body = await service.body(request)
        cookie, peer = request.cookies.get(kbs.COOKIE, ""), gate.peer(request.scope)
        now = service.clock()
        token, expires = await service.appraised(
            lambda: kbs.attest(service.party, cookie, body, peer, now), releases=0
        )
        answer = gate.as_json(token)
        _set_cookie(answer, cookie, request, expires - int(now.timestamp()))
        return answer

    async def resource(request: Request) -> Response:
        from attestation.relying_party.web import bearer  # noqa: PLC0415  # it makes these routes

        secret = request.cookies.get(kbs.COOKIE) or bearer(request)
        names = (request.path_params[part] for part in ("repository", "type", "tag"))
        name, peer = "/".join(names), gate.peer(request.scope)
        found = await service.work(lambda: kbs.resource(service.party, secret, name, peer, service.clock()))
        service.metrics.releases.inc()
        return gate.as_json(found)

    def route(method: str, path: str, endpoint: Endpoint) -> Route:
        return gate.route(method, _PREFIX + path, gate.answered(endpoint, report, refusal=refusal))

    return [
        route("POST", "/auth", auth),
        route("POST", "/attest", attest),
        route("GET", "/resource/{repository}/{type}/{tag}", resource),
    ]


def refusal(error: RelyingPartyError) -> Response:
    """Return an error as the protocol has it: `type` and `detail`."""
    detail = error.word
    if isinstance(error, RefusedError):
        detail = f"{error.word}: {error.verdict.value}"
    elif isinstance(error, RequestError):
        detail = f"{error.word}: {error}"[:500]
    status = 401 if isinstance(error, _UNAUTHORIZED) else error.status
    if isinstance(error, UnavailableError):
        status = 503
    name = type(error).__name__.removesuffix("Error")
    return gate.as_json({"type": f"{_TYPE}/{name}", "detail": detail}, status)


def _set_cookie(answer: Response, secret: str, request: Request, seconds: int) -> None:
    is_tls = request.url.scheme == "https"
    answer.set_cookie(
        kbs.COOKIE, secret, max_age=max(seconds, 0), path=_PREFIX, secure=is_tls, httponly=True, samesite=None
    )
