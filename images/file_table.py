"""
The files of an image as JSON: by what they have in common, and then by folder.

A Python script needs a thousand files. Each has a digest and a size of its own, while kind, mode, reason and
packages are those of hundreds: said once for each group, and with digests in base64, they take two fifths of
what a list of rows does.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from images.ownership import PackageVersion
from images.tree import Kind, Reason
from shim.canonical import JsonValue

_DIGEST_SIZE = 32


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


def table(
    items: Sequence[Item], reasons: Mapping[Reason, int], packages: Mapping[PackageVersion, int]
) -> list[JsonValue]:
    """
    Return groups of files, each with what all of its files have in common and its folders.

    A folder maps names to size and SHA-256 (base64, not padded) of a file, the target of a link, or null for
    a directory.

    Args:
        items: The files.
        reasons: Numbers that stand for them.
        packages: Likewise.
    """
    groups: dict[tuple[Any, ...], dict[str, JsonValue]] = {}
    for item in items:
        shared = _shared(item, reasons[item.reason], packages)
        row = groups.setdefault(tuple(map(str, shared.items())), {**shared, "folders": {}})
        folders: Any = row["folders"]
        folder, name = posixpath.split(item.path)
        folders.setdefault(folder, {})[name] = _own(item)
    return [groups[key] for key in sorted(groups)]


def _shared(item: Item, reason: int, packages: Mapping[PackageVersion, int]) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {"kind": str(item.kind), "reason": reason}
    row |= {} if item.kind is Kind.SYMLINK else {"mode": f"{item.mode:04o}"}
    row |= {"packages": [packages[one] for one in item.packages]} if item.packages else {}
    row |= {"built_in": [packages[one] for one in item.built_in]} if item.built_in else {}
    return row | ({"altered": True} if item.altered else {})


def _own(item: Item) -> JsonValue:
    if item.kind is Kind.FILE:
        return [item.size, base64.b64encode(bytes.fromhex(item.sha256)).decode().rstrip("=")]
    return item.target if item.kind is Kind.SYMLINK else None


def read_table(
    groups: Sequence[dict[str, Any]], reasons: Sequence[Reason], packages: Sequence[PackageVersion]
) -> tuple[Item, ...]:
    """
    Return the files of groups, by path.

    Raises:
        ValueError, TypeError, KeyError, IndexError, AttributeError: it is no such table.

    Not checked:
        That it is spelled as `table` does.
    """
    if not isinstance(groups, list):
        raise TypeError(groups)
    found = [item for group in groups for item in _items(group, reasons, packages)]
    return tuple(sorted(found, key=lambda item: item.path.encode(errors="surrogateescape")))


def _items(
    group: dict[str, Any], reasons: Sequence[Reason], packages: Sequence[PackageVersion]
) -> Iterator[Item]:
    kind = Kind(group["kind"])
    for folder, names in group["folders"].items():
        for name, own in names.items():
            size, digest = own if kind is Kind.FILE else (0, "")
            yield Item(
                posixpath.join(folder, name),
                kind,
                0o777 if kind is Kind.SYMLINK else int(group["mode"], 8),
                number(size),
                _digest(digest) if kind is Kind.FILE else "",
                text(own) if kind is Kind.SYMLINK else "",
                reasons[number(group["reason"])],
                tuple(packages[number(one)] for one in group.get("packages", ())),
                group.get("altered", False) is True,
                tuple(packages[number(one)] for one in group.get("built_in", ())),
            )


def _digest(value: object) -> str:
    digest = base64.b64decode(text(value) + "=", validate=True)
    if len(digest) != _DIGEST_SIZE:
        raise ValueError(value)
    return digest.hex()


def text(value: object) -> str:
    """
    Return a text as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def number(value: object) -> int:
    """
    Return a number, 0 or more, as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(value)
    return value
