"""
How does one ask Intel's Quote Generation Service on the host for a quote?

The service takes the report that a trust domain makes of itself, which only the same machine can check, and
has a quoting enclave sign it.  Messages are little-endian behind their length, which is big-endian.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

from attestation.errors import CollectError
from attestation.guest import Guest, Stream, explained

SOURCE = "Intel DCAP, QuoteGeneration/quote_wrapper/qgs_msg_lib/inc/qgs_msg_lib.h"
HOST = 2  # VMADDR_CID_HOST of include/uapi/linux/vm_sockets.h
PORT = 4050
CONFIGURATION = "etc/tdx-attest.conf"
_HEADER = struct.Struct("<HHIII")  # major version, minor version, type, size, error code
_SIZES = struct.Struct("<II")  # of a request: report, list of keys; of an answer: selected key, quote
_LENGTH = struct.Struct(">I")
_MAJOR, _MINOR = 1, 0
_GET_QUOTE_REQ, _GET_QUOTE_RESP = 0, 1
_LARGEST = 1 << 20
_LARGEST_CONFIGURATION = 1 << 16
_ERRORS: Mapping[int, str] = {
    0x12001: "unexpected error",
    0x12002: "out of memory",
    0x12003: "invalid parameter",
    0x12004: "invalid version",
    0x12005: "invalid type",
    0x12006: "invalid size",
    0x12007: "invalid code",
}
_MEANINGS: Mapping[int, str] = {
    errno.ECONNREFUSED: "no service listens on the host",
    errno.ECONNRESET: "no service listens on the host, or it gave up",
    errno.ENODEV: "this machine has no vsock to its host",
    errno.EAFNOSUPPORT: "this kernel has no vsock",
    errno.ETIMEDOUT: "the service did not answer in time",
}


def quote(guest: Guest, td_report: bytes) -> bytes:
    """
    Return the quote for a report of the trust domain.

    Args:
        guest: The machine; `etc/tdx-attest.conf` of it may name another port than 4050.
        td_report: TDREPORT_STRUCT, 1024 bytes.

    Raises:
        CollectError: no service answers, it refuses, or what it says is no answer.

    Source:
        Intel DCAP, qgs_msg_lib.h: qgs_msg_get_quote_req_t, qgs_msg_get_quote_resp_t; tdx_attest.c for the
        length before each message and for the port.
    """
    port = _port(guest)
    with explained(f"Quote Generation Service at vsock {HOST}:{port}", _MEANINGS, SOURCE):
        stream = guest.connect(HOST, port)
        try:
            message = request(td_report)
            stream.sendall(_LENGTH.pack(len(message)) + message)
            (size,) = _LENGTH.unpack(_received(stream, _LENGTH.size))
            if not _HEADER.size <= size <= _LARGEST:
                raise _wrong("length", f"{size} bytes", f"{_HEADER.size} to {_LARGEST} bytes")
            answer = _received(stream, size)
        finally:
            stream.close()
    return parse(answer)


def request(td_report: bytes) -> bytes:
    """Return the request for a quote by any key."""
    size = _HEADER.size + _SIZES.size + len(td_report)
    return _HEADER.pack(_MAJOR, _MINOR, _GET_QUOTE_REQ, size, 0) + _SIZES.pack(len(td_report), 0) + td_report


def parse(answer: bytes) -> bytes:
    """
    Return the quote in an answer.

    Raises:
        CollectError: the service refused, or this is no answer.
    """
    if len(answer) < _HEADER.size:
        raise _wrong("header", f"{len(answer)} bytes", f"{_HEADER.size} bytes")
    major, minor, kind, size, code = _HEADER.unpack_from(answer)
    if (major, kind, size) != (_MAJOR, _GET_QUOTE_RESP, len(answer)):
        found = f"version {major}.{minor}, type {kind}, size {size}"
        raise _wrong("header", found, f"version 1, type {_GET_QUOTE_RESP}, size {len(answer)}")
    if code:
        raise _wrong("error_code", f"0x{code:x} ({_ERRORS.get(code, 'of the quoting library')})", "0")
    body = answer[_HEADER.size :]
    if len(body) < _SIZES.size:
        raise _wrong("sizes", f"{len(body)} bytes", f"{_SIZES.size} bytes")
    selected, quoted = _SIZES.unpack_from(body)
    if not quoted or _SIZES.size + selected + quoted != len(body):
        found = f"{selected} and {quoted} bytes of {len(body) - _SIZES.size}"
        raise _wrong("selected_id_size, quote_size", found, "a quote, and nothing behind it")
    return body[_SIZES.size + selected :]


def _received(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise _wrong("", f"{len(data)} bytes before the end", f"{size} bytes")
        data += part
    return data


def _port(guest: Guest) -> int:
    """Return the port of a line `port = NUMBER`, as Intel's own library looks for it."""
    if not guest.exists(CONFIGURATION):
        return PORT
    with explained(f"/{CONFIGURATION}", {}, SOURCE):
        text = guest.read(CONFIGURATION, _LARGEST_CONFIGURATION).decode("utf-8", "replace")
    for line in text.splitlines():
        name, _, value = line.partition("=")
        number = value.strip()
        if name.strip() == "port":
            if not number.isdecimal() or not 0 < int(number[:11]) < 1 << 32:
                raise CollectError(f"/{CONFIGURATION} port", repr(number)[:40], "1 to 4294967295", SOURCE)
            return int(number)
    return PORT


def _wrong(field: str, found: str, want: str) -> CollectError:
    where = "Quote Generation Service's answer"
    return CollectError(f"{where}.{field}" if field else where, found, want, SOURCE)
