"""The parts of a launch plan's file: kinds of sections, layouts of their entries, words for what is wrong."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from shim.errors import PlanFormatError

MAGIC: Final = b"SHIMPLAN"
VERSION: Final = 1
ARCH_X86_64: Final = 1
MAX_SIZE: Final = 4 << 20
MAX_PATH: Final = 4096
MAX_FILTER: Final = 4096
MAX_STRINGS: Final = 65536
MAX_OBJECTS: Final = 512
MAX_STAGES: Final = 4
DIGEST_SIZE: Final = 32
INSTRUCTION_SIZE: Final = 8
PAGE: Final = 4096

SOURCE: Final = "native/plan.h"
HEADER: Final = struct.Struct("<8sHHIIIQ")
ENTRY: Final = struct.Struct("<IIII")
LIMIT: Final = struct.Struct("<IIQQ")
NUMBER: Final = struct.Struct("<Q")
RELOCATION: Final = struct.Struct("<IHH")
SEALED: Final = struct.Struct("<QQ")
OBJECT: Final = struct.Struct("<32sQ")
OBJECT_SEAL: Final = struct.Struct("<IIQQ")
STAGE: Final = struct.Struct("<QII")
LANDLOCK: Final = struct.Struct("<QQQ")
PORT: Final = struct.Struct("<QQ")
PAIR: Final = struct.Struct("<II")
CGROUP: Final = struct.Struct("<QQQQ")
NETWORK: Final = struct.Struct("<I4sI4s4s4s4sI")
CHANNEL: Final = struct.Struct("<IIIII4sQ32s")
MAX_MODULES: Final = 256
MAX_HOSTNAME: Final = 64
MAX_PORT_NAME: Final = 63
MAX_SECRET_PATH: Final = 255

_QUOTED: Final = 48  # bytes of a foreign string that a message shows


class Kind(IntEnum):
    """What a section holds; as `enum plan_kind` in native/plan.h."""

    PROGRAM = 1
    DIGEST = 2
    FILTER = 3
    ARGV = 4
    ENVIRONMENT = 5
    LIMITS = 6
    ENTRY_POINT = 7
    RELOCATIONS = 8
    SEALED = 9
    OBJECTS = 10
    OBJECT_SEALS = 11
    STAGES = 12
    STAGE_FILTERS = 13
    STAGE_RELOCATIONS = 14
    LANDLOCK = 15
    PATHS = 16
    PORTS = 17
    IDENTITY = 18
    NAMESPACES = 19
    TIMEOUT = 20
    CGROUP = 21
    MODULES = 22
    NETWORK = 23
    HOSTNAME = 24
    CHANNEL = 25


def fault(where: str, found: object, want: str) -> PlanFormatError:
    """Return the error that says what is wrong where."""
    return PlanFormatError(where, str(found), want, SOURCE)


def quoted(content: bytes) -> str:
    """Return the start of foreign bytes so that they cannot steer a terminal."""
    plain = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in content[:_QUOTED]
    )
    return f"'{plain}'" + ("..." if len(content) > _QUOTED else "")


def strings(content: bytes) -> tuple[bytes, ...]:
    """Return the NUL-terminated strings that a section consists of."""
    return tuple(content.split(b"\0")[:-1])


def path_entries(content: bytes) -> list[tuple[int, int, bytes]]:
    """
    Return (offset, rights, path) of each Landlock rule for a file, in a section that has been checked.
    """
    found, offset = [], 0
    while offset < len(content):
        end = content.index(0, offset + NUMBER.size)
        (rights,) = NUMBER.unpack_from(content, offset)
        found.append((offset, rights, content[offset + NUMBER.size : end]))
        offset = end + 1 + -(end + 1) % 8
    return found


def module_entries(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return (digest, path) of each module, in a section that has been checked."""
    found, offset = [], 0
    while offset < len(content):
        end = content.index(0, offset + DIGEST_SIZE)
        found.append((content[offset : offset + DIGEST_SIZE], content[offset + DIGEST_SIZE : end]))
        offset = end + 1 + -(end + 1) % 8
    return found
