"""
The same for what a machine has to be before the program.

The words and their order are those of native/plan_machine.c.
"""

from __future__ import annotations

import re
from typing import Final

from shim.launch.machine import ChannelKind, EvidenceKind, NetworkMode
from shim.launch.plan_checks import Values
from shim.launch.plan_layout import (
    CHANNEL,
    DIGEST_SIZE,
    MAX_HOSTNAME,
    MAX_MODULES,
    MAX_PATH,
    MAX_PORT_NAME,
    MAX_SECRET_PATH,
    NETWORK,
    Kind,
    fault,
    quoted,
)

_NONE: Final = bytes(4)
_ANY: Final = (1 << 32) - 1
_HOSTNAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.-]*")
_PORT_NAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_modules(content: bytes, _values: Values) -> None:
    """Raise unless these are digests and paths, each followed by zeros up to a multiple of 8."""
    offset = count = 0
    while offset < len(content):
        left = len(content) - offset
        end = content.find(0, offset + DIGEST_SIZE)
        path = content[offset + DIGEST_SIZE : max(end, 0)]
        if count == MAX_MODULES:
            raise fault("modules", "more than 256", "at most 256")
        if end < 0 or path[:1] != b"/" or len(path) >= MAX_PATH:
            want = "a digest, an absolute path of at most 4095 bytes and one NUL"
            raise fault("modules.path", f"{left} bytes", want)
        following = end + 1 + -(end + 1) % 8
        if following > len(content) or any(content[end + 1 : following]):
            raise fault("modules.padding", f"{left} bytes", "zeros to a multiple of 8")
        offset = following
        count += 1


def check_network(content: bytes, _values: Values) -> None:
    """Raise unless this is a network."""
    if len(content) != NETWORK.size:
        raise fault("network", f"{len(content)} bytes", "32 bytes")
    mode, address, prefix, gateway, *servers, reserved = NETWORK.unpack(content)
    if mode not in tuple(NetworkMode):
        raise fault("network.mode", mode, "1 (DHCP) or 2 (static)")
    if mode == NetworkMode.DHCP and (address != _NONE or prefix or gateway != _NONE):
        raise fault("network.address", "an address, a prefix or a gateway", "none with DHCP")
    if mode == NetworkMode.STATIC and (not 0 < prefix <= 32 or address == _NONE):
        raise fault("network.prefix", prefix, "an address and 1 to 32 bits of it")
    for place in (1, 2):
        if servers[place - 1] == _NONE and servers[place] != _NONE:
            raise fault("network.dns", place, "servers without gaps")
    if reserved:
        raise fault("network.reserved", reserved, "0")


def check_hostname(content: bytes, _values: Values) -> None:
    """Raise unless this is a name."""
    name = content[:-1]
    if len(content) > MAX_HOSTNAME + 1 or content[-1] != 0 or not _HOSTNAME.fullmatch(name):
        raise fault("hostname", quoted(content), "1 to 64 letters, digits, hyphens and dots, and one NUL")


def check_channel(content: bytes, _values: Values) -> None:
    """Raise unless this is a channel."""
    if len(content) < CHANNEL.size:
        raise fault("channel", f"{len(content)} bytes", "64 bytes and two strings")
    kind, evidence, plain, cid, port, address, reserved, key = CHANNEL.unpack_from(content)
    if evidence not in tuple(EvidenceKind):
        raise fault("channel.evidence", evidence, "1 (tsm), 2 (tpm) or 3 (simulated)")
    if plain > 1:
        raise fault("channel.plain", plain, "0 or 1")
    if reserved:
        raise fault("channel.reserved", reserved, "0")
    if not any(key):
        raise fault("channel.key", "zeros", "an Ed25519 public key")
    _check_place(kind, cid, port, has_address=address != _NONE)
    _check_names(kind, content[CHANNEL.size :])


def _check_place(kind: int, cid: int, port: int, *, has_address: bool) -> None:
    if kind not in tuple(ChannelKind):
        raise fault("channel.kind", kind, "1 (virtio), 2 (vsock) or 3 (TCP)")
    if (kind == ChannelKind.VSOCK) != (cid != 0) or cid == _ANY:
        raise fault("channel.cid", cid, "1 to 4294967294 with vsock, else 0")
    too_high = port == _ANY or (kind == ChannelKind.TCP and port > 65535)
    if (kind == ChannelKind.VIRTIO) != (port == 0) or too_high:
        raise fault("channel.port", port, "a port with vsock and TCP, else 0")
    if (kind == ChannelKind.TCP) != has_address:
        raise fault("channel.address", int(has_address), "one with TCP only")


def _check_names(kind: int, content: bytes) -> None:
    """Two strings fill the rest."""
    name, nul, rest = content.partition(b"\0")
    if not nul or rest.find(0) != len(rest) - 1 or not rest:
        raise fault("channel.names", f"{len(content)} bytes", "two strings, each with one NUL")
    path = rest[:-1]
    named = len(name) <= MAX_PORT_NAME and _PORT_NAME.fullmatch(name) is not None
    if not (named if kind == ChannelKind.VIRTIO else name == b""):
        want = "1 to 63 letters, digits, '-', '.' and '_' with virtio, else nothing"
        raise fault("channel.name", quoted(name), want)
    if path and not _is_secret_path(path):
        want = "a path in a directory, at most 255 bytes and without dots"
        raise fault("channel.secret", quoted(path), want)


def _is_secret_path(path: bytes) -> bool:
    parts = path.split(b"/")
    if len(path) > MAX_SECRET_PATH or parts[0] != b"":
        return False
    return len(parts) > 2 and not any(part in (b"", b".", b"..") for part in parts[1:])


def match_machine(values: Values) -> None:
    """Raise unless what connects over a network has one."""
    channel = values.content(Kind.CHANNEL)
    if channel and not values.content(Kind.NETWORK) and CHANNEL.unpack_from(channel)[0] == ChannelKind.TCP:
        raise fault("channel.kind", "no network", "a network for TCP")
