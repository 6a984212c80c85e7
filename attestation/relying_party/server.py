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
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from attestation.errors import AttestationError
from attestation.relying_party.tls import Certificate, CertificateError
from shim.errors import FoundWantError

_LARGEST_HEAD = 1 << 14
_BACKLOG = 2048
_WATCHERS = 64
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ListenError(FoundWantError, AttestationError):
    """An address that cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Listening:
    """
    Where and how.

    Attributes:
        host, port: The address; port 0 is any that is free.
        certificate: For TLS; None for none.
        monitor: Host and port for what watches the service, never with TLS; None for none.
        connections: How many at once; more are told 503.
        head_seconds: For the head of a request to arrive.
        idle_seconds: Between two requests.
        grace_seconds: For those that are being answered at the end.
        renew_seconds: Between two looks at the files of the certificate; SIGHUP looks at once.
    """

    host: str
    port: int
    certificate: Certificate | None = None
    monitor: tuple[str, int] | None = None
    connections: int = 1000
    head_seconds: float = 10.0
    idle_seconds: int = 10
    grace_seconds: int = 30
    renew_seconds: float = 10.0


def run(
    app: ASGIApp, where: Listening, announce: Callable[[str], None], monitor: ASGIApp | None = None
) -> None:
    """
    Serve until a signal, and return when everything that was begun is answered.

    Args:
        app: The application.
        where: Where and how.
        announce: Gets the URL, once it is listening, and what becomes of its certificate.
        monitor: What answers at `where.monitor`.

    Raises:
        ListenError: an address cannot be listened on.
    """
    config = _config(app, where, where.connections, lifespan="on")
    listener = _listener(where.host, where.port)
    scheme = "http"
    if where.certificate is not None:
        scheme, config.ssl = "https", where.certificate.front
    servers: list[tuple[uvicorn.Server, socket.socket]] = [
        (_Server(config, lambda: announce(f"listening on {_url(scheme, listener)}")), listener)
    ]
    if monitor is not None and where.monitor is not None:
        beside = _listener(*where.monitor)
        announce(f"watched at {_url('http', beside)}")
        servers.append((_Beside(_config(monitor, where, _WATCHERS, lifespan="off")), beside))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:  # uvloop where it is installed
        runner.run(_serve(servers, where, announce))


def _config(
    app: ASGIApp, where: Listening, connections: int, *, lifespan: Literal["on", "off"]
) -> uvicorn.Config:
    made = uvicorn.Config(
        app,
        http=_protocol(where.head_seconds),
        ws="none",
        lifespan=lifespan,
        log_config=None,
        log_level="error",  # what clients do wrong is in the metrics
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=connections,
        timeout_keep_alive=where.idle_seconds,
        timeout_graceful_shutdown=where.grace_seconds,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    made.load()
    return made


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        want = "an address that can be listened on"
        found = str(error.strerror).partition(" (")[0]  # the library adds the address to it
        raise ListenError(f"{host}, port {port}", found, want) from error


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


async def _serve(
    servers: list[tuple[uvicorn.Server, socket.socket]], where: Listening, announce: Callable[[str], None]
) -> None:
    """Serve with the first until a signal, and with the others until it is over."""
    (main, listener), *others = servers
    beside = [asyncio.create_task(one.serve(sockets=[at])) for one, at in others]
    renewing = [] if where.certificate is None else [
        asyncio.create_task(_renew(where.certificate, where.renew_seconds, announce))
    ]  # fmt: skip
    try:
        await main.serve(sockets=[listener])
    finally:
        for task in renewing:
            task.cancel()
        for one, _ in others:
            one.should_exit = True
        await asyncio.gather(*beside)


async def _renew(certificate: Certificate, seconds: float, announce: Callable[[str], None]) -> None:
    """Show the certificate that there is now; say what is wrong with one once."""
    asked, said = asyncio.Event(), ""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), seconds)
        asked.clear()
        try:
            if certificate.renew():
                announce("a new certificate is shown")
                said = ""
        except CertificateError as error:
            if str(error) != said:
                said = str(error)
                announce(f"the certificate is shown that was: {error}")


class _Beside(uvicorn.Server):
    """A server that ends with another one, whose signals it leaves alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


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
