"""
The process that listens: TLS, slow clients, and an end that nobody notices who is being answered.

A connection has so long for the head of its request; the library has a limit only for what lies between two
requests.  At SIGTERM or SIGINT no connection is taken any more, and those that are being answered are.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from attestation.errors import AttestationError
from shim.errors import FoundWantError

_LARGEST_HEAD = 1 << 14
_BACKLOG = 2048
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ListenError(FoundWantError, AttestationError):
    """An address that cannot be listened on, or a certificate that cannot be used."""


@dataclass(frozen=True, slots=True)
class Listening:
    """
    Where and how.

    Attributes:
        host, port: The address; port 0 is any that is free.
        certificate, key: For TLS, PEM; None for none.
        connections: How many at once; more are told 503.
        head_seconds: For the head of a request to arrive.
        idle_seconds: Between two requests.
        grace_seconds: For those that are being answered at the end.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    connections: int = 1000
    head_seconds: float = 10.0
    idle_seconds: int = 10
    grace_seconds: int = 30


def run(app: ASGIApp, where: Listening, announce: Callable[[str], None]) -> None:
    """
    Serve until a signal, and return when everything that was begun is answered.

    Args:
        app: The application.
        where: Where and how.
        announce: Gets the URL, once it is listening.

    Raises:
        ListenError: the address cannot be listened on, or the certificate not be used.
    """
    config = uvicorn.Config(
        app,
        host=where.host,
        port=where.port,
        ssl_certfile=where.certificate,
        ssl_keyfile=where.key,
        http=_protocol(where.head_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # what clients do wrong is in the metrics
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=where.connections,
        timeout_keep_alive=where.idle_seconds,
        timeout_graceful_shutdown=where.grace_seconds,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    try:
        config.load()
    except OSError as error:
        want = "a certificate and its key, PEM"
        raise ListenError(f"{where.certificate}, {where.key}", error.strerror or str(error), want) from error
    try:
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        listener = socket.create_server((where.host, where.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        want = "an address that can be listened on"
        found = str(error.strerror).partition(" (")[0]  # the library adds the address to it
        raise ListenError(f"{where.host}, port {where.port}", found, want) from error
    host, port = listener.getsockname()[:2]
    scheme, shown = "http" if where.certificate is None else "https", f"[{host}]" if ":" in host else host
    server = _Server(config, lambda: announce(f"{scheme}://{shown}:{port}"))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:  # uvloop where it is installed
        runner.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the library's own, which sends itself the signal once more at the end: we have more to close."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _protocol(head_seconds: float) -> type[H11Protocol]:
    """Return the library's protocol, with an end to waiting for the head of a request."""

    class Protocol(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self._waiting is None and self._is_idle():
                self._wait()
            super().data_received(data)
            if self._waiting is not None and not self._is_idle():
                self._stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _is_idle(self) -> bool:
            """Whether no request is being read or answered; `cycle` is of the last one whose head came."""
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(head_seconds, self.transport.abort)

        def _stop(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return Protocol
