"""
One question by HTTP, one answer, bounded in size and in time.

No redirect is followed, nothing is decompressed, and no cookie is kept.  The limit of time holds for every
single read as well as for all together, so that a server which sends a byte now and then gains nothing by it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore

from attestation.fetch.errors import FetchError, TemporaryError, WrongAnswerError
from attestation.fetch.transport import Response

_OK = 200
_AGENT = "tee-shim"


class HttpTransport:
    """Questions by HTTP 1.1, over one connection for each service."""

    def __init__(
        self,
        seconds: Callable[[], float],
        *,
        authorities: Path | None = None,
        proxy: Callable[[str], str | None] = lambda _url: None,
    ) -> None:
        """
        Make one; nothing is opened yet.

        Args:
            seconds: A clock that only grows.
            authorities: A file of certificates, PEM, to trust for TLS instead of the system's.
            proxy: The URL of the proxy for a URL, or None.

        Raises:
            FetchError: `authorities` holds no certificates.
        """
        try:
            self._tls = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
        except (OSError, ssl.SSLError) as error:
            raise FetchError(str(authorities), error.strerror or str(error), "certificates as PEM") from error
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._proxy = proxy
        self._deadline = _Deadline(seconds)
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}

    def ask(self, url: str, headers: Mapping[str, str], *, limit: int, deadline: float) -> Response:
        """Return the answer to a GET; see `Transport.ask`."""
        self._deadline.at = deadline
        try:
            return self._ask(url, headers, limit)
        except httpcore.TimeoutException as error:
            raise TemporaryError(url, "no whole answer in time", "one") from error
        except httpcore.ConnectError as error:
            cause = _refused_certificate(error)
            if cause is not None:
                want = "one that is trusted (--tls-ca FILE names whose to trust)"
                raise FetchError(url, f"a certificate of TLS: {cause.verify_message}", want) from error
            raise TemporaryError(url, _words(error), "a connection") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise TemporaryError(url, _words(error), "a whole answer") from error

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _ask(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        sent = {"Host": urlsplit(url).netloc, "Accept-Encoding": "identity", "User-Agent": _AGENT}
        with self._pool(url).stream("GET", url, headers=[*({**sent, **headers}).items()]) as response:
            found: dict[str, str] = {}
            for name, value in response.headers:
                found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
            body = self._body(url, response, found, limit) if response.status == _OK else b""
            return Response(response.status, found, body)

    def _body(self, url: str, response: httpcore.Response, headers: Mapping[str, str], limit: int) -> bytes:
        if headers.get("content-encoding", "identity") != "identity":
            raise WrongAnswerError(url, f"content-encoding {headers['content-encoding']}", "none, as asked")
        size = headers.get("content-length", "0")
        if size.isdecimal() and int(size) > limit:
            raise WrongAnswerError(url, f"{size} bytes", f"at most {limit} bytes")
        body = b""
        for part in response.iter_stream():
            body += part
            if len(body) > limit:
                raise WrongAnswerError(url, f"more than {limit} bytes", f"at most {limit} bytes")
        return body

    def _pool(self, url: str) -> httpcore.ConnectionPool:
        proxy = self._proxy(url)
        if proxy is not None and urlsplit(proxy).scheme not in {"http", "https"}:
            raise FetchError(url, f"the proxy {proxy}", "one of http or https")
        if proxy not in self._pools:
            self._pools[proxy] = httpcore.ConnectionPool(
                ssl_context=self._tls,
                proxy=None if proxy is None else httpcore.Proxy(proxy),
                network_backend=_Backend(self._deadline),
            )
        return self._pools[proxy]


class _Deadline:
    """When the answer that is waited for has to be there."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.at = 0.0

    def left(self) -> float:
        """Return the seconds until then; none is a timeout at once."""
        left = self.at - self._seconds()
        if left <= 0:
            raise httpcore.ReadTimeout("out of time")
        return left


class _Backend(httpcore.NetworkBackend):
    """The library's own sockets, each of whose operations ends at the deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        self._sockets = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
        try:
            stream = self._sockets.connect_tcp(
                host, port, self._deadline.left(), local_address, socket_options
            )
        except UnicodeError as error:
            raise FetchError(host, "no name that a host can have", "one") from error
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  # whatever the library keeps
        return self._stream.get_extra_info(info)


def _refused_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return what the library was told by the one below it, if that was about a certificate."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
