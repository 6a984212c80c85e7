"""
Which files does a program use, as far as its code shows?

What `shim profile` says of system calls, a footprint says of files: the objects that are mapped and why, the
absolute paths that code which can run names, and the functions that can run.  Only the type and its JSON;
`shim.analysis.footprint` fills it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from shim.canonical import JsonValue, canonical_bytes
from shim.errors import ProfileError

# Paths that are looked for inside packed strings too: those of Go and Rust have no end of their own.
WELL_KNOWN_PATHS = (
    # Go 1.22, crypto/x509/root_linux.go; openssl-probe 0.1; OpenSSL 3.0 as distributions configure it.
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/usr/lib/ssl/cert.pem",
    "/usr/lib/ssl/certs",
    # Go 1.22, time/zoneinfo_unix.go and net/.
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/mime.types",
)


class Mapped(StrEnum):
    """By which rule an object comes into the process."""

    PROGRAM = "program"
    INTERPRETER = "interpreter"
    """The kernel maps it for PT_INTERP."""
    NEEDED = "needed"
    """Another object names it in DT_NEEDED."""
    PRELOADED = "preloaded"
    """/etc/ld.so.preload names it."""
    OPENED = "opened"
    """Code that can run names it, or a name that leads to it."""
    LISTED = "listed"
    """It lies below a directory that such code names, and names are put together."""
    DECLARED = "declared"
    """A user said that it is opened."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Why an object is mapped.

    Attributes:
        object: Its path, as the loader found it.
        mapped: The rule.
        by: Path of the object that leads to it, "" where none does.
        name: The name in that object that does.
    """

    object: str
    mapped: Mapped
    by: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class NamedPath:
    """An absolute path, the object whose code names it, and the first such function; "" where data does."""

    path: str
    object: str
    function: str


@dataclass(frozen=True, slots=True, order=True)
class LiveFunction:
    """A function that can run, and the other objects whose code uses it, in the loader's order."""

    object: str
    name: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """
    Functions of an object that nothing reaches.

    Attributes:
        object: Its path, as the loader found it.
        sha256: Of the file.
        places: (offset in the file, bytes) of each stretch of them, in order, none touching the next.
    """

    object: str
    sha256: str
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """
    What the code of a process shows of the files that it uses.

    Attributes:
        origins: Of every object of the profile, in its order.
        idle: Paths of objects that are named, and opened by nothing that can run.
        paths: What code names that can run, sorted.
        functions: What can run and has a name, sorted.
        go: Whether Go made the program.
        findings: What a user should know about the choice of libraries, one line each.
        unreachable: What nothing reaches, if that was asked for.
    """

    origins: tuple[Origin, ...]
    idle: tuple[str, ...]
    paths: tuple[NamedPath, ...]
    functions: tuple[LiveFunction, ...]
    go: bool
    findings: tuple[str, ...]
    unreachable: tuple[Unreachable, ...] = ()


def dumps(footprint: Footprint) -> bytes:
    """Return the canonical JSON of `footprint`, UTF-8, without a final newline."""
    rows: dict[str, JsonValue] = {
        "origins": [list(asdict(one).values()) for one in footprint.origins],
        "idle": list(footprint.idle),
        "paths": [[one.path, one.object, one.function] for one in footprint.paths],
        "functions": [[one.object, one.name, *one.by] for one in footprint.functions],
        "go": footprint.go,
        "findings": list(footprint.findings),
        "unreachable": [
            [one.object, one.sha256, [list(place) for place in one.places]] for one in footprint.unreachable
        ],
    }
    return canonical_bytes(rows)


def loads(data: bytes, where: str) -> Footprint:
    """
    Return the footprint that `data` holds.

    Raises:
        ProfileError: it is none.
    """
    try:
        value: dict[str, Any] = json.loads(data)
        return Footprint(
            tuple(Origin(path, Mapped(rule), by, name) for path, rule, by, name in value["origins"]),
            tuple(value["idle"]),
            tuple(NamedPath(*row) for row in value["paths"]),
            tuple(LiveFunction(path, name, tuple(by)) for path, name, *by in value["functions"]),
            bool(value["go"]),
            tuple(value["findings"]),
            tuple(
                Unreachable(path, digest, tuple((offset, size) for offset, size in places))
                for path, digest, places in value["unreachable"]
            ),
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProfileError(where, "no footprint", "the JSON of one") from error
