"""
What is in an image and why, as one canonical JSON text that is part of it.

It holds nothing that depends on the machine, the user or the place of a build, so that the same inputs give
the same text; how layers are compressed is said beside them, not here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from images.errors import ManifestError
from images.tree import Kind, Reason, Tree
from shim.canonical import JsonValue, canonical_bytes

SCHEMA_VERSION = 1
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
    """

    path: str
    kind: Kind
    mode: int
    size: int
    sha256: str
    target: str
    reason: Reason


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
        request: What the user asked for, as options of `shim build`.
        inputs: What went in.
        plan: SHA-256 of the launch plan.
        created: Seconds since 1970, as all times of the image.
        tool_version: Of the shim that made it.
        items: Everything in the image but the manifest, by path.
    """

    program: str
    arguments: tuple[str, ...]
    request: tuple[str, ...]
    inputs: tuple[Input, ...]
    plan: str
    created: int
    tool_version: str
    items: tuple[Item, ...]


def items_of(tree: Tree) -> tuple[Item, ...]:
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
        )
        for entry in tree.entries
    )


def dumps(manifest: Manifest) -> bytes:
    """
    Return the canonical JSON of a manifest, UTF-8, without a final newline.

    Files name their reason by its number in the list of all: many have the same.
    """
    reasons = sorted({item.reason for item in manifest.items})
    numbers = {reason: number for number, reason in enumerate(reasons)}
    return canonical_bytes(
        {
            "schema": SCHEMA_VERSION,
            "program": manifest.program,
            "arguments": list(manifest.arguments),
            "request": list(manifest.request),
            "inputs": [
                {"name": one.name, "sha256": one.sha256, "detail": one.detail} for one in manifest.inputs
            ],
            "plan": manifest.plan,
            "created": manifest.created,
            "tool_version": manifest.tool_version,
            "reasons": [{"rule": one.rule, "by": one.by, "detail": one.detail} for one in reasons],
            "files": [_item(item, numbers[item.reason]) for item in manifest.items],
        }
    )


def _item(item: Item, reason: int) -> JsonValue:
    row: dict[str, JsonValue] = {"path": item.path, "kind": str(item.kind), "reason": reason}
    if item.kind is Kind.SYMLINK:
        return row | {"target": item.target}
    row["mode"] = f"{item.mode:04o}"
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
        if value["schema"] != SCHEMA_VERSION:
            raise ManifestError(f"{where}: schema", repr(value["schema"]), str(SCHEMA_VERSION))
        reasons = [Reason(*_texts(one, "rule", "by", "detail")) for one in value["reasons"]]
        program, plan, tool_version = _texts(value, "program", "plan", "tool_version")
        manifest = Manifest(
            program,
            tuple(map(_text, value["arguments"])),
            tuple(map(_text, value["request"])),
            tuple(Input(*_texts(one, "name", "sha256", "detail")) for one in value["inputs"]),
            plan,
            _number(value["created"]),
            tool_version,
            tuple(_read_item(row, reasons) for row in value["files"]),
        )
        canonical = dumps(manifest)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ManifestError(where, "no manifest", "the JSON of one") from error
    if canonical != data:
        raise ManifestError(where, "another spelling", "the canonical JSON of what it says")
    return manifest


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


def _read_item(row: dict[str, Any], reasons: list[Reason]) -> Item:
    kind = Kind(row["kind"])
    return Item(
        _text(row["path"]),
        kind,
        0o777 if kind is Kind.SYMLINK else int(row["mode"], 8),
        _number(row["size"]) if kind is Kind.FILE else 0,
        _text(row["sha256"]) if kind is Kind.FILE else "",
        _text(row["target"]) if kind is Kind.SYMLINK else "",
        reasons[_number(row["reason"])],
    )
