"""
What a launch plan says of a machine: what the first process makes of it before the program runs.

For machines alone: `shim-launch` and `shim run` refuse a plan that has any of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address


class NetworkMode(IntEnum):
    """How a machine gets its address; as `enum plan_network` in native/plan.h."""

    DHCP = 1
    STATIC = 2


class ChannelKind(IntEnum):
    """What connects a machine with its relying party; as `enum plan_channel`."""

    VIRTIO = 1
    VSOCK = 2
    TCP = 3


class EvidenceKind(IntEnum):
    """Where evidence comes from; as `enum plan_evidence`."""

    TSM = 1
    """configfs-tsm: SEV-SNP, TDX, Arm CCA."""
    TPM = 2
    SIMULATED = 3
    """Who plays a TEE, on a virtio-serial port of its own. Proves nothing."""


SECRET_FILE = 3
"""Number of the file that is a secret which has no path."""


@dataclass(frozen=True, slots=True)
class Module:
    """
    A module of the kernel.

    Attributes:
        path: Absolute, in the image.
        digest: SHA-256 of the file, 32 bytes.
    """

    path: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Network:
    """
    The first Ethernet interface.

    Attributes:
        mode: DHCP leaves address, prefix and gateway to a server.
        address: Its own.
        prefix: Bits of it that are the network's.
        gateway: Of everything else; None for none.
        dns: At most three; with DHCP these are asked instead of those that the server names.
    """

    mode: NetworkMode
    address: IPv4Address | None = None
    prefix: int = 0
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """
    How a machine gets its secret, and where its output goes.

    Attributes:
        kind: What it is.
        evidence: What the machine shows for the secret.
        relying_party: The Ed25519 key that signs releases, 32 bytes.
        name: Of the virtio-serial port; b"" for the others.
        cid: Of the other side, with vsock.
        port: Of the other side, with vsock and TCP.
        address: Of the other side, with TCP.
        secret: Where the program finds its secret; b"" for the open file `SECRET_FILE`.
        plain_output: Output, events and exit are not sealed.
    """

    kind: ChannelKind
    evidence: EvidenceKind
    relying_party: bytes
    name: bytes = b""
    cid: int = 0
    port: int = 0
    address: IPv4Address | None = None
    secret: bytes = b""
    plain_output: bool = False
