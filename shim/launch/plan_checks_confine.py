"""
The same for what the program may reach, as whom, where and for how long.

The words and their order are those of native/plan_confine.c.
"""

from __future__ import annotations

from typing import Final

from shim.launch.plan_checks import Values
from shim.launch.plan_layout import (
    CGROUP,
    LANDLOCK,
    MAX_PATH,
    NUMBER,
    PAIR,
    PORT,
    Kind,
    fault,
    path_entries,
    quoted,
)

# include/uapi/linux/landlock.h, v6.18: LANDLOCK_ACCESS_FS_*, LANDLOCK_ACCESS_NET_*, LANDLOCK_SCOPE_*.
_KNOWN: Final = (0xFFFF, 3, 3)
# include/uapi/linux/sched.h, v6.18: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET.
_NAMESPACES: Final = 0x7E02_0000
_NOBODY: Final = (1 << 32) - 1
_PORTS: Final = 65536
_MAX_PROCESSES: Final = 4194304
_MAX_QUOTA: Final = (1 << 44) - 1
_PERIODS: Final = range(1000, 1_000_001)


def check_landlock(content: bytes, _values: Values) -> None:
    """Raise unless these are rights that the kernel has."""
    if len(content) != LANDLOCK.size:
        raise fault("landlock", f"{len(content)} bytes", "24 bytes")
    handled = LANDLOCK.unpack(content)
    for rights, known in zip(handled, _KNOWN, strict=True):
        if rights & ~known:
            raise fault("landlock.handled", rights, "rights that Linux 6.18 has")
    if not any(handled):
        raise fault("landlock.handled", 0, "something")


def check_paths(content: bytes, _values: Values) -> None:
    """Raise unless these are rights and paths, each followed by zeros up to a multiple of 8."""
    offset = 0
    while offset < len(content):
        left = len(content) - offset
        end = content.find(0, offset + NUMBER.size)
        path = content[offset + NUMBER.size : max(end, 0)]
        if end < 0 or path[:1] != b"/" or len(path) >= MAX_PATH:
            want = "rights, an absolute path of at most 4095 bytes and one NUL"
            raise fault("paths.path", f"{left} bytes", want)
        following = end + 1 + -(end + 1) % NUMBER.size
        padding = content[end + 1 : following]
        if following > len(content) or any(padding):
            raise fault("paths.padding", f"{left} bytes", "zeros to a multiple of 8")
        if not any(content[offset : offset + NUMBER.size]):
            raise fault("paths.rights", 0, "a right")
        offset = following


def check_ports(content: bytes, _values: Values) -> None:
    """Raise unless these are rights on ports, by increasing port."""
    if len(content) % PORT.size:
        raise fault("ports", f"{len(content)} bytes", "entries of 16 bytes")
    least = 0
    for rights, port in PORT.iter_unpack(content):
        if not rights:
            raise fault("ports.rights", 0, "a right")
        if not least <= port < _PORTS:
            raise fault("ports.port", port, "0 to 65535, increasing")
        least = port + 1


def check_identity(content: bytes, _values: Values) -> None:
    """Raise unless this is a user and a group."""
    if len(content) != PAIR.size:
        raise fault("identity", f"{len(content)} bytes", "8 bytes")
    if _NOBODY in PAIR.unpack(content):
        raise fault("identity.id", _NOBODY, "at most 4294967294")


def check_namespaces(content: bytes, _values: Values) -> None:
    """Raise unless these are namespaces."""
    if len(content) != PAIR.size:
        raise fault("namespaces", f"{len(content)} bytes", "8 bytes")
    kinds, reserved = PAIR.unpack(content)
    if not kinds or kinds & ~_NAMESPACES or reserved:
        want = "CLONE_NEW of cgroup, uts, ipc, user, pid, net or mount, and 0"
        raise fault("namespaces.kinds", f"{kinds} and {reserved}", want)


def check_timeout(content: bytes, _values: Values) -> None:
    """Raise unless this is a time."""
    if len(content) != NUMBER.size:
        raise fault("timeout", f"{len(content)} bytes", "8 bytes")
    (nanoseconds,) = NUMBER.unpack(content)
    if not 0 < nanoseconds < 1 << 63:
        raise fault("timeout", nanoseconds, "1 to 9223372036854775807 nanoseconds")


def check_cgroup(content: bytes, _values: Values) -> None:
    """Raise unless these are limits that the kernel takes, and a path."""
    if not CGROUP.size + 2 <= len(content) <= CGROUP.size + MAX_PATH:
        want = "32 bytes, a path of at most 4095 bytes and one NUL"
        raise fault("cgroup", f"{len(content)} bytes", want)
    path = content[CGROUP.size :]
    if path[:1] != b"/" or path.find(0) != len(path) - 1:
        raise fault("cgroup.path", quoted(path), "an absolute path and one NUL at its end")
    memory, processes, quota, period = CGROUP.unpack_from(content)
    if memory >= 1 << 63 or processes > _MAX_PROCESSES:
        want = "less than 2^63 bytes and at most 4194304 processes"
        raise fault("cgroup.limits", f"{memory} and {processes}", want)
    if (quota, period) != (0, 0) and not (1000 <= quota <= _MAX_QUOTA and period in _PERIODS):
        want = "1000 to 17592186044415 of 1000 to 1000000 microseconds, or 0 of 0"
        raise fault("cgroup.cpu", f"{quota} of {period}", want)


def match_confined(values: Values) -> None:
    """Raise unless rights are given only of what Landlock handles."""
    landlock = values.content(Kind.LANDLOCK)
    files, network, _ = LANDLOCK.unpack(landlock) if landlock else (0, 0, 0)
    for _, rights, _ in path_entries(values.content(Kind.PATHS)):
        if rights & ~files:
            raise fault("paths.rights", rights, "rights that landlock handles")
    for rights, _ in PORT.iter_unpack(values.content(Kind.PORTS)):
        if rights & ~network:
            raise fault("ports.rights", rights, "rights that landlock handles")
