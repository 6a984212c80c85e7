"""
Is what a section of a launch plan holds what it should be?  Here: what to run, and within which limits.

The words are those of native/plan_sections.c; each check raises PlanFormatError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shim.launch.plan import PlanFlag
from shim.launch.plan_layout import (
    DIGEST_SIZE,
    INSTRUCTION_SIZE,
    LIMIT,
    MAX_FILTER,
    MAX_PATH,
    MAX_STRINGS,
    Kind,
    fault,
    quoted,
    strings,
)

_RESOURCES: Final = 16  # RLIM_NLIMITS, include/uapi/asm-generic/resource.h, v6.18
_RLIMIT_CORE: Final = 4
_LOADER_NAMES: Final = (b"LD_", b"GLIBC_TUNABLES=", b"GCONV_PATH=")


@dataclass(frozen=True, slots=True)
class Values:
    """The flags of a plan, and the contents of its sections."""

    flags: int
    sections: Mapping[Kind, bytes]

    def content(self, kind: Kind) -> bytes:
        """Return what a section holds, nothing if it is not there."""
        return self.sections.get(kind, b"")


def check_program(content: bytes, _values: Values) -> None:
    """Raise unless this is the path of a program."""
    path = content[:-1]
    if not 3 <= len(content) <= MAX_PATH or path[:1] != b"/" or 0 in path or content[-1] != 0:
        raise fault("program", quoted(content), "an absolute path of at most 4095 bytes and one NUL")


def check_digest(content: bytes, _values: Values) -> None:
    """Raise unless this is a SHA-256."""
    if len(content) != DIGEST_SIZE:
        raise fault("digest", f"{len(content)} bytes", "32 bytes")


def check_filter(content: bytes, _values: Values) -> None:
    """Raise unless these are instructions."""
    if len(content) % INSTRUCTION_SIZE or len(content) > MAX_FILTER * INSTRUCTION_SIZE:
        raise fault("filter", f"{len(content)} bytes", "1 to 4096 instructions of 8 bytes")


def _check_strings(where: str, content: bytes) -> None:
    count = content.count(0)
    if content[-1] != 0 or count > MAX_STRINGS:
        last = ", and none at the end" if content[-1] != 0 else ""
        found = f"{count} NULs in {len(content)} bytes{last}"
        raise fault(where, found, "1 to 65536 NUL-terminated strings")


def check_argv(content: bytes, _values: Values) -> None:
    """Raise unless these are arguments."""
    _check_strings("argv", content)


def check_environment(content: bytes, values: Values) -> None:
    """Raise unless these are variables that the plan may pass."""
    _check_strings("environment", content)
    for entry in strings(content):
        if entry.find(b"=") < 1:
            raise fault("environment.entry", quoted(entry), "NAME=VALUE")
        if entry.startswith(_LOADER_NAMES) and not values.flags & PlanFlag.LOADER_ENVIRONMENT:
            raise fault("environment.loader", quoted(entry), "no LD_*, GLIBC_TUNABLES, GCONV_PATH")


def check_limits(content: bytes, _values: Values) -> None:
    """Raise unless these are resource limits."""
    if len(content) % LIMIT.size:
        raise fault("limits", f"{len(content)} bytes", "entries of 24 bytes")
    least = 0
    for resource, reserved, soft, hard in LIMIT.iter_unpack(content):
        if not least <= resource < _RESOURCES or resource == _RLIMIT_CORE:
            raise fault("limits.resource", resource, "known ones but CORE (4), increasing")
        if reserved:
            raise fault("limits.reserved", reserved, "0")
        if soft > hard:
            raise fault("limits.soft", f"{soft} above {hard}", "at most the hard limit")
        least = resource + 1
