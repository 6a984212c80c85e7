"""The same for what a machine has to be before the program."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from shim.launch.machine import Channel, ChannelKind, EvidenceKind, Module, Network, NetworkMode
from shim.launch.plan_layout import CHANNEL, NETWORK, Kind, fault, module_entries

if TYPE_CHECKING:
    from shim.launch.plan import LaunchPlan

_NONE = bytes(4)


def machine_contents(plan: LaunchPlan) -> dict[Kind, bytes]:
    """
    Return what each section would hold; empty where there is nothing to say.

    Raises:
        PlanFormatError: a value does not fit its field.
    """
    hostname = plan.hostname + b"\0" if plan.hostname else b""
    return {
        Kind.MODULES: b"".join(_module(one) for one in plan.modules),
        Kind.NETWORK: b"" if plan.network is None else _network(plan.network),
        Kind.HOSTNAME: hostname,
        Kind.CHANNEL: b"" if plan.channel is None else _channel(plan.channel),
    }


def _module(module: Module) -> bytes:
    if len(module.digest) != 32 or 0 in module.path:
        found = f"a digest of {len(module.digest)} bytes, or a NUL inside a path"
        raise fault("modules.path", found, "32 bytes and an absolute path")
    entry = module.digest + module.path + b"\0"
    return entry + bytes(-len(entry) % 8)


def _network(network: Network) -> bytes:
    servers = [server.packed for server in network.dns]
    if len(servers) > 3:
        raise fault("network.dns", f"{len(servers)} servers", "at most 3")
    servers += [_NONE] * (3 - len(servers))
    try:
        return NETWORK.pack(
            network.mode, _packed(network.address), network.prefix, _packed(network.gateway), *servers, 0
        )
    except struct.error as error:
        raise fault("network.prefix", str(network.prefix), "1 to 32") from error


def _channel(channel: Channel) -> bytes:
    key = channel.relying_party
    if len(key) != 32:
        raise fault("channel.key", f"{len(key)} bytes", "32")
    numbers = (channel.kind, channel.evidence, int(channel.plain_output), channel.cid, channel.port)
    try:
        fixed = CHANNEL.pack(*numbers, _packed(channel.address), 0, key)
    except struct.error as error:
        raise fault("channel", " ".join(map(str, numbers)), f"values that fit {CHANNEL.format}") from error
    return fixed + channel.name + b"\0" + channel.secret + b"\0"


def _packed(address: IPv4Address | None) -> bytes:
    return _NONE if address is None else address.packed


def modules_of(content: bytes) -> tuple[Module, ...]:
    """Return the modules of a section that has been checked."""
    return tuple(Module(path, digest) for digest, path in module_entries(content))


def network_of(content: bytes) -> Network | None:
    """Return the network of a section that has been checked."""
    if not content:
        return None
    mode, address, prefix, gateway, *servers, _ = NETWORK.unpack(content)
    dns = tuple(IPv4Address(server) for server in servers if server != _NONE)
    return Network(NetworkMode(mode), _address(address), prefix, _address(gateway), dns)


def channel_of(content: bytes) -> Channel | None:
    """Return the channel of a section that has been checked."""
    if not content:
        return None
    kind, evidence, plain, cid, port, address, _, key = CHANNEL.unpack_from(content)
    name, secret, _ = content[CHANNEL.size :].split(b"\0")
    return Channel(
        ChannelKind(kind),
        EvidenceKind(evidence),
        key,
        name,
        cid,
        port,
        _address(address),
        secret,
        bool(plain),
    )


def _address(packed: bytes) -> IPv4Address | None:
    return None if packed == _NONE else IPv4Address(packed)
