"""The parts of a machine's first process, called one by one: DHCP messages, channels, secrets."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from shim.launch._native import ffi, lib as native
from shim.launch.machine import Channel, ChannelKind, EvidenceKind, Network, NetworkMode
from shim.launch.plan import LaunchPlan
from shim.launch.plan_codec import encode
from tests.native.launching import all_but
from tests.native.test_tsm import Fault

TRANSACTION, HARDWARE = b"\x01\x02\x03\x04", b"\x52\x54\x00\x01\x02\x03"
SERVER = bytes([10, 0, 2, 2])
ADDRESS = bytes([10, 0, 2, 15])
COOKIE = bytes([99, 130, 83, 99])
OFFER, ACK, NAK = 2, 5, 6


class Client(ctypes.Structure):
    """struct dhcp_client."""

    _fields_ = (("transaction", ctypes.c_uint8 * 4), ("hardware", ctypes.c_uint8 * 6))


class Lease(ctypes.Structure):
    """struct dhcp_lease."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("address", ctypes.c_uint8 * 4),
        ("server", ctypes.c_uint8 * 4),
        ("gateway", ctypes.c_uint8 * 4),
        ("dns", ctypes.c_uint8 * 12),
        ("prefix", ctypes.c_uint32),
    )


CLIENT = Client((ctypes.c_uint8 * 4)(*TRANSACTION), (ctypes.c_uint8 * 6)(*HARDWARE))


@pytest.fixture(scope="module")
def lib(guest_build: Callable[[str], Path]) -> ctypes.CDLL:
    return ctypes.CDLL(str(guest_build("guest-library") / "libguest.so"))


def option(code: int, value: bytes) -> bytes:
    return bytes([code, len(value)]) + value


MASK, ROUTER = option(1, bytes([255, 255, 255, 0])), option(3, SERVER)
NAMED = option(54, SERVER)
SAID = option(53, bytes([ACK])) + NAMED + MASK


def answer(
    options: bytes = SAID,
    *,
    operation: int = 2,
    transaction: bytes = TRANSACTION,
    hardware: bytes = HARDWARE,
    address: bytes = ADDRESS,
    cookie: bytes = COOKIE,
) -> bytes:
    """What a server sends; RFC 2131, figure 1."""
    head = struct.pack(">BBBB4sHH4s4s4s4s", operation, 1, 6, 0, transaction, 0, 0, b"", address, b"", b"")
    return head + hardware.ljust(16, b"\0") + bytes(192) + cookie + options


def read(lib: ctypes.CDLL, message: bytes) -> Lease | None:
    lease = Lease()
    room = ctypes.create_string_buffer(message, len(message))
    if lib.dhcp_read(room, ctypes.c_size_t(len(message)), ctypes.byref(CLIENT), ctypes.byref(lease)) != 0:
        return None
    return lease


def test_an_acknowledgement(lib: ctypes.CDLL) -> None:
    lease = read(lib, answer(SAID + ROUTER + option(6, bytes(range(1, 17))) + b"\0\0\xff" + b"\1"))
    assert lease is not None
    assert (lease.type, bytes(lease.address), bytes(lease.server)) == (ACK, ADDRESS, SERVER)
    assert (bytes(lease.gateway), lease.prefix, bytes(lease.dns)) == (SERVER, 24, bytes(range(1, 13)))


def test_classless_routes_are_instead_of_the_router(lib: ctypes.CDLL) -> None:
    """RFC 3442: also where they name no gateway of everything."""
    routes = bytes([24, 10, 9, 8, 10, 0, 2, 3, 0, 10, 0, 2, 4])
    lease = read(lib, answer(SAID + ROUTER + option(121, routes)))
    assert lease is not None
    assert bytes(lease.gateway) == bytes([10, 0, 2, 4])
    lease = read(lib, answer(SAID + option(121, routes[:8]) + ROUTER))
    assert lease is not None
    assert bytes(lease.gateway) == bytes(4)


def test_a_refusal_needs_no_address(lib: ctypes.CDLL) -> None:
    lease = read(lib, answer(option(53, bytes([NAK])), address=bytes(4)))
    assert lease is not None
    assert lease.type == NAK


PASSED_OVER = {
    "nothing": b"",
    "cut": answer()[:239],
    "a-question": answer(operation=1),
    "of-another-question": answer(transaction=b"\x01\x02\x03\x05"),
    "to-another-machine": answer(hardware=b"\x52\x54\x00\x01\x02\x04"),
    "no-cookie": answer(cookie=bytes(4)),
    "no-type": answer(NAMED + MASK),
    "another-type": answer(option(53, b"\x08") + NAMED + MASK),
    "a-type-of-two": answer(option(53, bytes([ACK, ACK])) + NAMED + MASK),
    "no-mask": answer(option(53, bytes([ACK])) + NAMED),
    "a-mask-with-a-hole": answer(option(53, bytes([ACK])) + NAMED + option(1, bytes([255, 0, 255, 0]))),
    "a-mask-of-nothing": answer(option(53, bytes([ACK])) + NAMED + option(1, bytes(4))),
    "a-mask-too-short": answer(option(53, bytes([ACK])) + NAMED + option(1, bytes([255, 255, 255]))),
    "no-server": answer(option(53, bytes([ACK])) + MASK),
    "a-server-too-long": answer(SAID + option(54, SERVER + b"\0")),
    "no-address": answer(address=bytes(4)),
    "the-loopback": answer(address=bytes([127, 0, 0, 1])),
    "a-group": answer(address=bytes([224, 0, 0, 1])),
    "everybody": answer(address=bytes([255] * 4)),
    "a-router-too-short": answer(SAID + option(3, SERVER[:3])),
    "a-router-and-a-half": answer(SAID + option(3, SERVER + SERVER[:2])),
    "a-router-that-is-none": answer(SAID + option(3, bytes([127, 0, 0, 1]))),
    "no-names": answer(SAID + option(6, b"")),
    "an-option-beyond-the-end": answer(SAID + bytes([12, 9]) + b"host"),
    "an-option-without-a-size": answer(SAID + bytes([12])),
    "a-route-too-short": answer(SAID + option(121, bytes([24, 10, 9, 8, 10, 0, 2]))),
    "a-route-of-33-bits": answer(SAID + option(121, bytes([33, 10, 9, 8, 7, 6, 10, 0, 2, 3]))),
}


@pytest.mark.parametrize("case", PASSED_OVER)
def test_what_a_client_passes_over(lib: ctypes.CDLL, case: str) -> None:
    assert read(lib, PASSED_OVER[case]) is None


@given(st.binary(max_size=80))
def test_any_options(lib: ctypes.CDLL, options: bytes) -> None:
    """Whatever follows what is good, an address that is taken is one that a machine may have."""
    lease = read(lib, answer(SAID + options))
    assert lease is None or lease.type == NAK or 1 <= lease.prefix <= 32


def test_what_a_client_sends(lib: ctypes.CDLL) -> None:
    offer = Lease(OFFER, (ctypes.c_uint8 * 4)(*ADDRESS), (ctypes.c_uint8 * 4)(*SERVER))
    room = ctypes.create_string_buffer(576)
    size = lib.dhcp_write(room, 3, ctypes.byref(CLIENT), ctypes.byref(offer))
    message = room.raw[:size]
    assert size == 300
    assert message[:12] == b"\1\1\6\0" + TRANSACTION + b"\0\0\x80\0"
    assert message[28:34] == HARDWARE
    assert message[236:].startswith(COOKIE + b"\x35\1\3" + option(50, ADDRESS) + NAMED)


def planned(channel: Channel) -> tuple[object, object]:
    """A plan as the C reader has it, and what must outlive it."""
    network = Network(NetworkMode.DHCP) if channel.kind is ChannelKind.TCP else None
    plan = LaunchPlan(b"/a", bytes(32), all_but(), (b"a",), channel=channel, network=network)
    data = ffi.from_buffer(encode(plan))
    fields, fault = ffi.new("struct plan *"), ffi.new("struct plan_fault *")
    assert native.plan_read(data, len(data), fields, fault) == 0
    return fields, data


def connected(lib: ctypes.CDLL, channel: Channel, seconds: int) -> int | str:
    fields, _data = planned(channel)
    fd, fault = ctypes.c_int(-1), Fault()
    plan = ctypes.c_void_p(int(ffi.cast("uintptr_t", fields)))
    if lib.connect_channel(plan, seconds, ctypes.byref(fd), ctypes.byref(fault)) == 0:
        return fd.value
    return f"{fault.where.decode()}: found {fault.found.decode()}, want {fault.want.decode()}"


def channel(kind: ChannelKind, **place: object) -> Channel:
    return Channel(kind, EvidenceKind.SIMULATED, b"k" * 32, **place)  # type: ignore[arg-type]


def test_a_relying_party_that_comes_up_late(lib: ctypes.CDLL) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    late: list[bytes] = []

    def serve() -> None:
        time.sleep(0.5)
        with socket.create_server(("127.0.0.1", port)) as ours:
            connection, _ = ours.accept()
            late.append(connection.recv(5))
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    fd = connected(lib, channel(ChannelKind.TCP, address=IPv4Address("127.0.0.1"), port=port), 10)
    assert isinstance(fd, int), fd
    os.write(fd, b"hello")
    thread.join()
    os.close(fd)
    assert late == [b"hello"]


def test_a_relying_party_that_never_comes(lib: ctypes.CDLL) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    said = connected(lib, channel(ChannelKind.TCP, address=IPv4Address("127.0.0.1"), port=port), 1)
    assert said == "open-channel: found Connection refused, want a connection to the plan's relying party"


def test_a_relying_party_over_vsock(lib: ctypes.CDLL) -> None:
    """Where this kernel has its loopback; else what it says is an error, and no hang."""
    try:
        server = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        server.bind((socket.VMADDR_CID_ANY, 4711))
    except OSError as error:
        said = connected(lib, channel(ChannelKind.VSOCK, cid=1, port=4711), 1)
        assert isinstance(said, str)
        assert said.startswith("open-channel: found ")
        pytest.skip(f"no vsock here: {error}")
    with server:
        server.listen(1)
        fd = connected(lib, channel(ChannelKind.VSOCK, cid=1, port=4711), 1)
        if isinstance(fd, str):
            pytest.skip(f"no vsock of a machine with itself here: {fd}")
        os.close(fd)


def test_a_machine_without_the_port(lib: ctypes.CDLL) -> None:
    said = connected(lib, channel(ChannelKind.VIRTIO, name=b"no.such"), 1)
    assert said == "open-channel: found no virtio-serial port of that name, want no.such"


@pytest.mark.parametrize("size", [0, 1, 65536])
def test_a_secret_that_nobody_can_change(lib: ctypes.CDLL, size: int) -> None:
    fields, _data = planned(channel(ChannelKind.VIRTIO, name=b"a"))
    secret, fd, fault = os.urandom(size), ctypes.c_int(-1), Fault()
    plan = ctypes.c_void_p(int(ffi.cast("uintptr_t", fields)))
    done = lib.secret_deliver(plan, secret, ctypes.c_size_t(size), ctypes.byref(fd), ctypes.byref(fault))
    assert done == 0, fault.found
    assert os.get_inheritable(fd.value) is False
    assert os.read(fd.value, size + 1) == secret
    with pytest.raises(PermissionError):
        os.write(fd.value, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd.value, size + 1)
    if size:
        with pytest.raises(PermissionError):
            os.ftruncate(fd.value, 0)
    os.close(fd.value)
