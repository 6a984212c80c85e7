"""/dev/tdx_guest, and Intel's quoting service at the other end of a real socket."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from attestation.errors import CollectError, KernelError
from attestation.intel import collect, qgs
from attestation.intel.collect import DEVICE
from tests.fakes.guest import FakeGuest, TdxGuest

DATA = bytes(range(64))
QUOTE = b"a quote"


def answer(
    quote: bytes = QUOTE,
    *,
    selected: bytes = b"",
    version: int = 1,
    kind: int = 1,
    code: int = 0,
    size: int = 0,
) -> bytes:
    body = struct.pack("<II", len(selected), len(quote)) + selected + quote
    return struct.pack("<HHIII", version, 1, kind, size or 16 + len(body), code) + body


def serving(message: bytes, *, length: int | None = None) -> Callable[[socket.socket], None]:
    """Answers one request with `message`; it has come before our side asks, as both are one thread."""

    def serve(link: socket.socket) -> None:
        link.sendall(struct.pack(">I", len(message) if length is None else length) + message)
        link.shutdown(socket.SHUT_WR)
        SEEN.append(link.dup())

    return serve


SEEN: list[socket.socket] = []


def machine(serve: Callable[[socket.socket], None] | None, device: TdxGuest | None = None) -> FakeGuest:
    return FakeGuest(ioctls={DEVICE: device or TdxGuest()}, service=serve)


def test_quote_comes_from_the_service_for_the_domains_own_report() -> None:
    guest = machine(serving(answer()))
    assert collect.quote(guest, DATA) == QUOTE
    assert guest.connected == [(2, 4050)]
    with SEEN.pop() as link:
        sent = link.recv(4096)
    report = TdxGuest.report(DATA)
    assert sent[:4] == struct.pack(">I", 24 + 1024)
    assert sent[4:28] == struct.pack("<HHIIIII", 1, 0, 0, 24 + 1024, 0, 1024, 0)
    assert sent[28:] == report


def test_key_that_was_selected_is_skipped() -> None:
    assert qgs.parse(answer(selected=bytes(16))) == QUOTE


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (b"port=4051\n", 4051),
        (b"# port=1\n port = 4052 \n", 4052),
        (b"", 4050),
        (b"other = 1\n", 4050),
        (b"\xff\n", 4050),
    ],
)
def test_port_is_that_of_intels_configuration(text: bytes, port: int) -> None:
    guest = machine(serving(answer()))
    guest.files[qgs.CONFIGURATION] = text
    assert qgs.quote(guest, bytes(1024)) == QUOTE
    assert guest.connected == [(2, port)]
    SEEN.pop().close()


@pytest.mark.parametrize(
    "text", ["port=\n", "port=x\n", "port=0\n", "port=-1\n", "port=4294967296\n", "port=²\n"]
)
def test_port_that_is_none_is_refused(text: str) -> None:
    guest = machine(serving(answer()))
    guest.files[qgs.CONFIGURATION] = text.encode()
    with pytest.raises(CollectError, match=r"tdx-attest\.conf port"):
        qgs.quote(guest, bytes(1024))


BAD_ANSWERS = {
    "nothing": b"",
    "short header": answer()[:15],
    "another version": answer(version=2),
    "a request": answer(kind=0),
    "another size": answer(size=17),
    "no sizes": struct.pack("<HHIII", 1, 0, 1, 16, 0),
    "no quote": answer(b""),
    "quote that breaks off": answer()[:-1],
    "something behind it": answer() + b"x",
    "quote that ends before the message": answer(size=len(answer()) + 1) + b"x",
    "quote that ends behind the message": answer(size=len(answer()) - 1)[:-1],
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_what_is_no_answer_is_refused(name: str) -> None:
    with pytest.raises(CollectError, match="Quote Generation Service's answer"):
        qgs.parse(BAD_ANSWERS[name])


@pytest.mark.parametrize(
    ("code", "text"),
    [(0x12001, "unexpected error"), (0x12006, "invalid size"), (0x11001, "of the quoting library")],
)
def test_error_of_the_service_is_told(code: int, text: str) -> None:
    with pytest.raises(CollectError, match=rf"error_code: found 0x{code:x} \({text}\)"):
        qgs.parse(answer(code=code))


@pytest.mark.parametrize(
    ("message", "length", "text"),
    [
        (b"", 20, "0 bytes before the end"),
        (answer()[:-3], len(answer()), "28 bytes before the end"),
        (answer(), 0, "length: found 0 bytes"),
        (answer(), 1 << 31, "length: found 2147483648 bytes"),
    ],
)
def test_connection_that_breaks_off_is_an_error(message: bytes, length: int, text: str) -> None:
    with pytest.raises(CollectError, match=text):
        qgs.quote(machine(serving(message, length=length)), bytes(1024))
    SEEN.pop().close()


def test_host_without_the_service_is_named() -> None:
    with pytest.raises(KernelError, match=r"vsock 2:4050: found ECONNRESET: no service listens on the host"):
        collect.quote(machine(None), DATA)


def test_service_that_does_not_answer_is_given_up() -> None:
    class Slow:
        def sendall(self, _: bytes) -> None:
            pass

        def recv(self, _: int) -> bytes:
            raise TimeoutError

        def close(self) -> None:
            closed.append(True)

    class Waiting(FakeGuest):
        def connect(self, _cid: int, _port: int, /) -> Slow:
            return Slow()

    closed: list[bool] = []
    with pytest.raises(KernelError, match="ETIMEDOUT: the service did not answer in time"):
        qgs.quote(Waiting(), bytes(1024))
    assert closed == [True]


@given(st.binary(max_size=64))
def test_any_answer_is_an_error_of_ours_or_a_quote(data: bytes) -> None:
    for message in (data, answer()[:16] + data, struct.pack("<HHIII", 1, 0, 1, 16 + len(data), 0) + data):
        try:
            assert qgs.parse(message)
        except CollectError:
            continue


# The report of the domain itself


def test_report_of_the_domain_holds_the_data() -> None:
    assert collect.td_report(machine(None), DATA) == TdxGuest.report(DATA)


@pytest.mark.parametrize(
    ("number", "text"), [(errno.EIO, "the TDX module refused"), (errno.ENOMEM, "Cannot allocate memory")]
)
def test_refusal_of_the_module_is_told(number: int, text: str) -> None:
    with pytest.raises(KernelError, match=f"/dev/tdx_guest: found {errno.errorcode[number]}: {text}"):
        collect.td_report(machine(None, TdxGuest(refusal=number)), DATA)


def test_device_that_leaves_the_report_out_is_noticed() -> None:
    with pytest.raises(CollectError, match="found zeros, want TDREPORT_STRUCT"):
        collect.td_report(machine(None, TdxGuest(silent=True)), DATA)
