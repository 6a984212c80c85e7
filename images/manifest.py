"""
What is in an image and why, as one canonical JSON text that is part of it.

It holds nothing that depends on the machine, the user or the place of a build but the paths that the user
named, so that the same command on the same inputs gives the same text.  How layers are compressed is said
beside them, not here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from images.allowed import phases_of, phases_value
from images.errors import ManifestError
from images.file_table import Item, number, read_table, table, text
from images.ownership import Ownership, PackageVersion
from images.tree import Reason, Tree
from shim.canonical import JsonValue, canonical_bytes
from shim.errors import ShimError
from shim.profile.profile import Phase

SCHEMA_VERSION = 2
MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """
    One thing that the image was made from.

    Attributes:
        name: "program", "profile", "source", "launcher", ...
        sha256: Its digest, "" for what has none, such as a running system.
        detail: What a person should know of it.
    """

    name: str
    sha256: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    The manifest of an image.

    Attributes:
        program: Path of the program in the image.
        arguments: Its argument vector.
        given: The program as the user named it.
        request: What the user asked for, as options of `shim build`, variables with their values.
        inputs: What went in.
        arch: As profiles call it.
        phases: What the program may call, without addresses and reasons.
        plan: SHA-256 of the launch plan.
        created: Seconds since 1970, as all times of the image.
        tool_version: Of the shim that made it.
        items: Everything in the image but the manifest, by path.
    """

    program: str
    arguments: tuple[str, ...]
    given: str
    request: tuple[str, ...]
    inputs: tuple[Input, ...]
    arch: str
    phases: tuple[Phase, ...]
    plan: str
    created: int
    tool_version: str
    items: tuple[Item, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """The words behind `shim build` that repeat it, without those of the format."""
        return (*self.request, "--", self.given, *self.arguments[1:])

    @property
    def packages(self) -> tuple[PackageVersion, ...]:
        """All packages that a file belongs to or holds code of, in order."""
        return tuple(sorted({one for item in self.items for one in (*item.packages, *item.built_in)}))


def items_of(tree: Tree, ownership: Ownership) -> tuple[Item, ...]:
    """Return what a manifest says of a tree."""
    return tuple(
        Item(
            entry.name,
            entry.kind,
            entry.mode,
            0 if entry.content is None else entry.content.size,
            "" if entry.content is None else entry.content.sha256,
            entry.target.decode(),
            entry.reason,
            ownership.owners.get(entry.name, ()),
            entry.name in ownership.altered,
            ownership.built_in.get(entry.name, ()),
        )
        for entry in tree.entries
    )


def dumps(manifest: Manifest) -> bytes:
    """
    Return the canonical JSON of a manifest, UTF-8, without a final newline.

    Files name their reason and their packages by numbers in the lists of all: many have the same; see
    `images.file_table`.
    """
    reasons = sorted({item.reason for item in manifest.items})
    numbers = {reason: number for number, reason in enumerate(reasons)}
    packages = {package: number for number, package in enumerate(manifest.packages)}
    return canonical_bytes(
        {
            "schema": SCHEMA_VERSION,
            "program": manifest.program,
            "arguments": list(manifest.arguments),
            "given": manifest.given,
            "request": list(manifest.request),
            "inputs": [
                {"name": one.name, "sha256": one.sha256, "detail": one.detail} for one in manifest.inputs
            ],
            "arch": manifest.arch,
            "phases": phases_value(manifest.phases),
            "plan": manifest.plan,
            "created": manifest.created,
            "tool_version": manifest.tool_version,
            "reasons": [{"rule": one.rule, "by": one.by, "detail": one.detail} for one in reasons],
            "packages": [_package(one) for one in packages],
            "files": table(manifest.items, numbers, packages),
        }
    )


def _package(package: PackageVersion) -> JsonValue:
    return {name: value for name, value in asdict(package).items() if value}


def loads(data: bytes, where: str) -> Manifest:
    """
    Return the manifest that `data` holds.

    Raises:
        ManifestError: it is none, or not the canonical text of one.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(where, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    try:
        value: dict[str, Any] = json.loads(data)
        check_schema(value["schema"], SCHEMA_VERSION, where)
        packages = [_read_package(one) for one in value["packages"]]
        reasons = [Reason(*_texts(one, "rule", "by", "detail")) for one in value["reasons"]]
        program, given, arch, plan, tool_version = _texts(
            value, "program", "given", "arch", "plan", "tool_version"
        )
        manifest = Manifest(
            program,
            tuple(map(text, value["arguments"])),
            given,
            tuple(map(text, value["request"])),
            tuple(Input(*_texts(one, "name", "sha256", "detail")) for one in value["inputs"]),
            arch,
            phases_of(value["phases"], arch),
            plan,
            number(value["created"]),
            tool_version,
            read_table(value["files"], reasons, packages),
        )
        canonical = dumps(manifest)
    except ManifestError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, ShimError) as error:
        raise ManifestError(where, "no manifest", "the JSON of one") from error
    if canonical != data:
        raise ManifestError(where, "another spelling", "the canonical JSON of what it says")
    return manifest


def check_schema(found: object, known: int, where: str) -> None:
    """
    Check that a document is of the schema that this version writes.

    Raises:
        ManifestError: it is not; that of a newer one says so.
    """
    if isinstance(found, int) and not isinstance(found, bool) and found > known:
        raise ManifestError(f"{where}: schema", str(found), f"at most {known}: a newer tee-shim wrote it")
    if found != known or isinstance(found, bool):
        raise ManifestError(f"{where}: schema", repr(found)[:90], f"{known}: build the image again")


def _texts(row: dict[str, object], *names: str) -> list[str]:
    return [text(row[name]) for name in names]


def _read_package(row: dict[str, Any]) -> PackageVersion:
    return PackageVersion(**{name: text(value) for name, value in row.items()})
