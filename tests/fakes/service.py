"""A real HTTP server on loopback that answers as a test scripts it, and remembers what it was asked."""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

Handler = Callable[["Question"], None]


@dataclass
class Question:
    """One GET, and the ways to answer it."""

    path: str
    headers: Mapping[str, str]
    http: BaseHTTPRequestHandler

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.begin(status, **{"Content_Length": str(len(body)), **headers})
        self.http.wfile.write(body)

    def begin(self, status: int = 200, **headers: str) -> None:
        self.http.send_response(status)
        for name, value in headers.items():
            self.http.send_header(name.replace("_", "-"), value)
        self.http.end_headers()

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        for byte in data:
            self.http.wfile.write(bytes([byte]))
            time.sleep(pause)


@dataclass
class Service:
    """Where the server is, and what it was asked, in order."""

    url: str
    asked: list[Question] = field(default_factory=list)
    failures: list[Handler] = field(default_factory=list)  # each answers one question, before all others

    @property
    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


@contextlib.contextmanager
def serve(handler: Handler, certificate: Path | None = None) -> Iterator[Service]:
    service: Service

    class Http(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            question = Question(self.path, dict(self.headers), self)
            service.asked.append(question)
            answer = service.failures.pop(0) if service.failures else handler
            with contextlib.suppress(OSError):  # who asked may have gone
                answer(question)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the library
            pass

    server = _Quiet(("127.0.0.1", 0), Http)
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "http" if certificate is None else "https"
    service = Service(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off is what some tests are about."""


def pem(*certificates: bytes) -> bytes:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    return b"".join(begin + base64.encodebytes(one) + end for one in certificates)


def in_header(*certificates: bytes) -> str:
    return quote(pem(*certificates).decode())
