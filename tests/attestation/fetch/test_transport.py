"""One question to a real server: what it may do to us, and what it may not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from attestation.fetch.errors import FetchError, TemporaryError, WrongAnswerError
from attestation.fetch.http_transport import HttpTransport
from attestation.fetch.transport import Response
from tests.fakes.service import Handler, Question, serve

IN_TIME, SOON = 5.0, 0.3


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(time.monotonic)
    yield made
    made.close()


def ask(transport: HttpTransport, url: str, *, limit: int = 100, within: float = IN_TIME) -> Response:
    return transport.ask(url, {"If-None-Match": '"1"'}, limit=limit, deadline=time.monotonic() + within)


def test_whole_answer_comes_with_its_headers(transport: HttpTransport) -> None:
    with serve(lambda question: question.answer(b"body", ETag='"2"', X_Twice="1")) as service:
        found = ask(transport, f"{service.url}/path?a=b&c=%20")
        assert (found.status, found.body, found.headers["etag"]) == (200, b"body", '"2"')
        (asked,) = service.asked
        assert asked.path == "/path?a=b&c=%20"
        assert asked.headers == {
            "Host": service.url.removeprefix("http://"),
            "Accept-Encoding": "identity",
            "User-Agent": "tee-shim",
            "If-None-Match": '"1"',
        }


@pytest.mark.parametrize("status", [204, 301, 304, 400, 404, 429, 500, 503])
def test_body_of_anything_but_a_success_is_not_read(transport: HttpTransport, status: int) -> None:
    def endless(question: Question) -> None:
        question.begin(status, Location="http://example.com/", Retry_After="7", Connection="close")
        while status not in {204, 304}:
            question.http.wfile.write(bytes(1 << 16))

    with serve(endless) as service:
        found = ask(transport, service.url)
        assert (found.status, found.body, found.headers["retry-after"]) == (status, b"", "7")
        assert len(service.asked) == 1  # no redirect was followed


def slow_header(question: Question) -> None:
    question.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: " + b"x" * 1000)


def slow_body(question: Question) -> None:
    question.begin(Content_Length="100")
    question.drip(bytes(100))


def silent(question: Question) -> None:
    time.sleep(2 * SOON)
    question.answer(b"too late")


@pytest.mark.parametrize("handler", [slow_header, slow_body, silent])
def test_slow_answer_ends_at_the_deadline(transport: HttpTransport, handler: Handler) -> None:
    with serve(handler) as service:
        start = time.monotonic()
        with pytest.raises(TemporaryError, match="no whole answer in time"):
            ask(transport, service.url, within=SOON)
        assert time.monotonic() - start < 2 * SOON


def test_nothing_is_asked_after_the_deadline(transport: HttpTransport) -> None:
    with serve(lambda question: question.answer()) as service:
        with pytest.raises(TemporaryError):
            ask(transport, service.url, within=0)
        assert service.asked == []


def truncated(question: Question) -> None:
    question.begin(Content_Length="100")
    question.http.wfile.write(bytes(50))
    question.http.close_connection = True


def truncated_chunk(question: Question) -> None:
    question.begin(Transfer_Encoding="chunked")
    question.http.wfile.write(b"40\r\nabc")
    question.http.close_connection = True


def no_http(question: Question) -> None:
    question.http.wfile.write(b"220 mail.example.com ESMTP\r\n")
    question.http.close_connection = True


def hangs_up(question: Question) -> None:
    question.http.close_connection = True


def endless_header(question: Question) -> None:
    question.http.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1 << 20):
        question.http.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))


@pytest.mark.parametrize("handler", [truncated, truncated_chunk, no_http, hangs_up, endless_header])
def test_broken_answer_may_be_asked_for_again(transport: HttpTransport, handler: Handler) -> None:
    with serve(handler) as service, pytest.raises(TemporaryError, match="want a whole answer"):
        ask(transport, service.url)


def announced(question: Question) -> None:
    question.begin(Content_Length="101")


def chunked(question: Question) -> None:
    question.begin(Transfer_Encoding="chunked")
    while True:
        question.http.wfile.write(b"40\r\n" + bytes(64) + b"\r\n")


def until_closed(question: Question) -> None:
    question.begin(Connection="close")
    while True:
        question.http.wfile.write(bytes(64))


@pytest.mark.parametrize("handler", [announced, chunked, until_closed])
def test_longer_answer_is_refused_while_it_comes(transport: HttpTransport, handler: Handler) -> None:
    with serve(handler) as service, pytest.raises(WrongAnswerError, match="want at most 100 bytes"):
        ask(transport, service.url)


def test_limit_is_inclusive(transport: HttpTransport) -> None:
    with serve(lambda question: question.answer(bytes(100))) as service:
        assert len(ask(transport, service.url).body) == 100


def test_compressed_answer_is_refused(transport: HttpTransport) -> None:
    handler: Handler = lambda question: question.answer(b"\x1f\x8b", Content_Encoding="gzip")  # noqa: E731
    with serve(handler) as service, pytest.raises(WrongAnswerError, match="content-encoding gzip"):
        ask(transport, service.url)


def test_nobody_there_may_be_asked_again(transport: HttpTransport) -> None:
    with serve(lambda question: question.answer()) as service:
        pass
    with pytest.raises(TemporaryError, match="want a connection"):
        ask(transport, service.url)


def test_transport_goes_on_after_a_failure(transport: HttpTransport) -> None:
    with serve(lambda question: question.answer(b"body")) as service:
        service.failures += [truncated, slow_body, until_closed]
        for _ in range(3):
            with pytest.raises(FetchError):
                ask(transport, service.url, within=SOON)
        assert ask(transport, service.url).body == b"body"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_certificate_that_is_not_trusted_is_final(transport: HttpTransport, certificate: Path) -> None:
    with serve(lambda question: question.answer(b"body"), certificate) as service:
        with pytest.raises(FetchError, match=r"self-signed certificate.*--tls-ca") as caught:
            ask(transport, service.url)
        assert not isinstance(caught.value, TemporaryError)
        assert service.asked == []


def test_certificate_that_the_user_trusts_is_taken(certificate: Path) -> None:
    transport = HttpTransport(time.monotonic, authorities=certificate)
    with serve(lambda question: question.answer(b"body"), certificate) as service:
        assert ask(transport, service.url).body == b"body"
        with pytest.raises(FetchError, match="mismatch") as caught:
            ask(transport, service.url.replace("127.0.0.1", "localhost"))
        assert not isinstance(caught.value, TemporaryError)
        transport.close()


def test_slow_handshake_ends_at_the_deadline(certificate: Path) -> None:
    import socket  # noqa: PLC0415  # one use

    transport = HttpTransport(time.monotonic, authorities=certificate)
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        start = time.monotonic()
        with pytest.raises(TemporaryError, match="no whole answer in time"):
            ask(transport, f"https://127.0.0.1:{silent_server.getsockname()[1]}", within=SOON)
        assert time.monotonic() - start < 2 * SOON
    transport.close()


def test_old_tls_is_not_spoken() -> None:
    assert HttpTransport(time.monotonic)._tls.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_file_without_certificates_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(FetchError, match="want certificates as PEM"):
        HttpTransport(time.monotonic, authorities=path)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1", "127.0.0.1:80", "socks5://127.0.0.1", "x://"])
def test_proxy_of_another_kind(proxy: str) -> None:
    transport = HttpTransport(time.monotonic, proxy=lambda _: proxy)
    with pytest.raises(FetchError, match="the proxy"):
        ask(transport, "http://service.invalid/x")


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".invalid"])
def test_host_that_cannot_be_one(transport: HttpTransport, host: str) -> None:
    with pytest.raises(FetchError, match="no name that a host can have"):
        ask(transport, f"http://{host}/x")
    with pytest.raises(FetchError, match="no name that a host can have"):
        ask(HttpTransport(time.monotonic, proxy=lambda _: f"http://{host}"), "http://service.invalid/x")


def test_proxy_is_asked_for_what_it_is_for() -> None:
    with serve(lambda question: question.answer(b"by proxy")) as proxy:
        transport = HttpTransport(
            time.monotonic, proxy=lambda url: proxy.url if "service.invalid" in url else None
        )
        assert ask(transport, "http://service.invalid/x").body == b"by proxy"
        assert proxy.paths == ["http://service.invalid/x"]
        transport.close()
