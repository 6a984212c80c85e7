"""
What do the arguments of a refused call say?  Paths, socket addresses, and a few sets of names.

What pointers lead to is read from the memory of the program, which another of its threads may change: it is
what stood there when it was read, and nothing is decided by it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

Read = Callable[[int, int], bytes]
"""Returns up to so many bytes at an address, fewer where they end, none where they cannot be read."""

MAX_PATH: Final = 4096
_MOST: Final = 200  # bytes of a path that are shown
_AT_FDCWD: Final = (1 << 64) - 100

# Which arguments are paths, and which (argument, length) a socket address: man-pages 6.03, section 2.
PATHS: Final = MappingProxyType(
    {
        **dict.fromkeys(
            ("open", "creat", "stat", "lstat", "access", "execve", "unlink", "mkdir", "rmdir", "chdir"), (0,)
        ),
        **dict.fromkeys(
            ("chmod", "chown", "lchown", "readlink", "mknod", "truncate", "statfs", "umount2", "chroot"), (0,)
        ),
        **dict.fromkeys(("acct", "swapon", "swapoff", "uselib", "memfd_create", "utime", "utimes"), (0,)),
        **dict.fromkeys(("setxattr", "getxattr", "listxattr", "removexattr"), (0,)),
        **dict.fromkeys(("rename", "link", "symlink", "pivot_root"), (0, 1)),
        **dict.fromkeys(
            ("openat", "openat2", "newfstatat", "faccessat", "faccessat2", "execveat", "unlinkat"), (1,)
        ),
        **dict.fromkeys(
            ("mkdirat", "fchmodat", "fchmodat2", "fchownat", "readlinkat", "mknodat", "utimensat"), (1,)
        ),
        **dict.fromkeys(("statx", "inotify_add_watch", "name_to_handle_at", "open_tree"), (1,)),
        **dict.fromkeys(("renameat", "renameat2", "linkat"), (1, 3)),
        "symlinkat": (0, 2),
        "mount": (0, 1, 2),
        "move_mount": (1, 3),
    }
)
SOCKET_ADDRESSES: Final = MappingProxyType({"connect": (1, 2), "bind": (1, 2), "sendto": (4, 5)})
# include/linux/socket.h and include/uapi/asm-generic/mman-common.h, v6.18.
_DOMAINS: Final = {
    1: "AF_UNIX",
    2: "AF_INET",
    10: "AF_INET6",
    16: "AF_NETLINK",
    17: "AF_PACKET",
    40: "AF_VSOCK",
}
_PROTECTIONS: Final = {1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC"}
_PROTECTED: Final = {"mmap": 2, "mprotect": 2, "pkey_mprotect": 2}
_AT: Final = frozenset(
    name for name, places in PATHS.items() if 0 not in places and name != "inotify_add_watch"
)


def decoded(name: str, arguments: Sequence[int], read: Read) -> dict[int, str]:
    """
    Return what arguments of the syscall `name` mean, by their place, as text that cannot steer a terminal.

    Arguments that mean only their number are left out, and pointers that cannot be read.
    """
    found: dict[int, str] = {}
    for place in PATHS.get(name, ()):
        path = _path(arguments[place], read)
        if path is not None:
            found[place] = path
    if name in _AT and arguments[0] & 0xFFFF_FFFF == _AT_FDCWD & 0xFFFF_FFFF:
        found[0] = "AT_FDCWD"
    if name in SOCKET_ADDRESSES:
        place, length = SOCKET_ADDRESSES[name]
        address = socket_address(read(arguments[place], min(arguments[length], 128)))
        if address is not None:
            found[place] = address
    if name in ("socket", "socketpair") and arguments[0] in _DOMAINS:
        found[0] = _DOMAINS[arguments[0]]
    if name in _PROTECTED:
        place = _PROTECTED[name]
        names = [word for bit, word in _PROTECTIONS.items() if arguments[place] & bit]
        found[place] = "|".join(names) or "PROT_NONE"
    return found


def quoted(content: bytes) -> str:
    """Return foreign bytes between quotes, what is not printable ASCII escaped; long ones are cut."""
    plain = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in content[:_MOST]
    )
    return f'"{plain}"' + ("..." if len(content) > _MOST else "")


def _path(address: int, read: Read) -> str | None:
    content = read(address, MAX_PATH)
    return quoted(content.partition(b"\0")[0]) if content else None


def socket_address(content: bytes) -> str | None:
    """Return a socket address in words, None if it is none that is known (man-pages 6.03, ip, ipv6, unix)."""
    if len(content) < 2:
        return None
    (family,) = struct.unpack_from("=H", content)
    port = int.from_bytes(content[2:4], "big")
    if _DOMAINS.get(family) == "AF_INET" and len(content) >= 8:
        return f"{ipaddress.IPv4Address(content[4:8])}:{port}"
    if _DOMAINS.get(family) == "AF_INET6" and len(content) >= 24:
        return f"[{ipaddress.IPv6Address(content[8:24])}]:{port}"
    if _DOMAINS.get(family) == "AF_UNIX":
        name = content[2:]
        abstract = name[:1] == b"\0" and len(name) > 1
        return ("@" if abstract else "") + quoted(name[1:] if abstract else name.partition(b"\0")[0])
    return _DOMAINS.get(family)
