"""
What is in an image and why, as one canonical JSON text that is part of it.

It holds nothing that depends on the machine, the user or the place of a build but the paths that the user
named, so that the same command on the same inputs gives the same text.  How layers are compressed is said
beside them, not here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from images.allowed import phases_of, phases_value
from images.errors import ManifestError
from images.ownership import Ownership, PackageVersion
from images.tree import Kind, Reason, Tree
from shim.canonical import JsonValue, canonical_bytes
from shim.errors import ShimError
from shim.profile.profile import Phase

SCHEMA_VERSION = 2
MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """
    One entry of the image.

    Attributes:
        path: Absolute.
        kind: File, directory or link.
        mode: Permissions.
        size: In bytes; 0 but for files.
        sha256: Of a file, else "".
        target: Of a link, else "".
        reason: Why it is there.
        packages: What it belongs to.
        altered: Whether it differs from what they installed.
        built_in: Packages whose code is in it, by its own account.
    """

    path: str
    kind: Kind
    mode: int
    size: int
    sha256: str
    target: str
    reason: Reason
    packages: tuple[PackageVersion, ...] = ()
    altered: bool = False
    built_in: tuple[PackageVersion, ...] = ()


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

    Files name their reason and their packages by numbers in the lists of all: many have the same.
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
            "files": [_item(item, numbers[item.reason], packages) for item in manifest.items],
        }
    )


def _package(package: PackageVersion) -> JsonValue:
    return {name: value for name, value in asdict(package).items() if value}


def _item(item: Item, reason: int, packages: Mapping[PackageVersion, int]) -> JsonValue:
    row: dict[str, JsonValue] = {"path": item.path, "kind": str(item.kind), "reason": reason}
    if item.kind is Kind.SYMLINK:
        return row | {"target": item.target}
    row["mode"] = f"{item.mode:04o}"
    row |= {"packages": [packages[one] for one in item.packages]} if item.packages else {}
    row |= {"built_in": [packages[one] for one in item.built_in]} if item.built_in else {}
    row |= {"altered": True} if item.altered else {}
    return row | ({"size": item.size, "sha256": item.sha256} if item.kind is Kind.FILE else {})


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
            tuple(map(_text, value["arguments"])),
            given,
            tuple(map(_text, value["request"])),
            tuple(Input(*_texts(one, "name", "sha256", "detail")) for one in value["inputs"]),
            arch,
            phases_of(value["phases"], arch),
            plan,
            _number(value["created"]),
            tool_version,
            tuple(_read_item(row, reasons, packages) for row in value["files"]),
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(row: dict[str, object], *names: str) -> list[str]:
    return [_text(row[name]) for name in names]


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(value)
    return value


def _read_package(row: dict[str, Any]) -> PackageVersion:
    return PackageVersion(**{name: _text(value) for name, value in row.items()})


def _read_item(row: dict[str, Any], reasons: list[Reason], packages: list[PackageVersion]) -> Item:
    kind = Kind(row["kind"])
    return Item(
        _text(row["path"]),
        kind,
        0o777 if kind is Kind.SYMLINK else int(row["mode"], 8),
        _number(row["size"]) if kind is Kind.FILE else 0,
        _text(row["sha256"]) if kind is Kind.FILE else "",
        _text(row["target"]) if kind is Kind.SYMLINK else "",
        reasons[_number(row["reason"])],
        tuple(packages[_number(one)] for one in row.get("packages", ())),
        row.get("altered", False) is True,
        tuple(packages[_number(one)] for one in row.get("built_in", ())),
    )
