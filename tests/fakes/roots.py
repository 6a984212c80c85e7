"""Roots with package databases, written as dpkg and apk write them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from images.packages.package import ImageFile

OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
STANZA = {
    "Package": "made",
    "Status": "install ok installed",
    "Maintainer": "Some Body <some@body.example>",
    "Architecture": "amd64",
    "Source": "made-source (1.0-1)",
    "Version": "1.0-1+b2",
    "Homepage": "https://made.example/",
    "Description": "made up\n for a test\n .\n with paragraphs",
}


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by path below the root; return the root."""
    for path, data in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def stanza(**changes: str | None) -> str:
    """Return a paragraph with changes; None leaves a field out."""
    fields = {**STANZA, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None) + "\n"


def dpkg(root: Path, *packages: tuple[str, Mapping[str, bytes]], info: str = "made") -> Path:
    """Write a root where dpkg has installed `packages`: paragraphs with the files of each."""
    places: dict[str, str | bytes] = {"etc/os-release": OS_RELEASE}
    status = ""
    for paragraph, files in packages:
        status += paragraph
        name = paragraph.split("\n")[0].removeprefix("Package: ") if info == "made" else info
        places |= dict(files.items())
        places[f"var/lib/dpkg/info/{name}.list"] = "/.\n" + "".join(f"{path}\n" for path in files)
        places[f"var/lib/dpkg/info/{name}.md5sums"] = "".join(
            f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {path.lstrip('/')}\n"
            for path, data in files.items()
        )
    places["var/lib/dpkg/status"] = status
    return write(root, places)


def apk_paragraph(name: str, version: str, files: Mapping[str, bytes], **more: str) -> str:
    """Return a package as apk-tools 2 keeps it: letters, directories, files with their digests."""
    lines = [f"C:Q1{'A' * 27}=", f"P:{name}", f"V:{version}", "A:x86_64", "S:1", "I:2", "T:made up"]
    lines += [f"{letter}:{value}" for letter, value in more.items()]
    directory = None
    for path, data in files.items():
        parent, _, base = path.lstrip("/").rpartition("/")
        if parent != directory:
            lines.append(f"F:{parent}")
            directory = parent
        digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
        lines += [f"R:{base}", "a:0:0:755", f"Z:Q1{digest}"]
    return "\n".join(lines) + "\n\n"


def image_files(root: Path, paths: Iterable[str]) -> list[ImageFile]:
    """Return files of an image that are at the same place in the root."""
    return [image_file(path, (root / path.lstrip("/")).read_bytes(), path) for path in paths]


def image_file(path: str, data: bytes, origin: str = "") -> ImageFile:
    """Return one file of an image."""
    return ImageFile(path, origin, hashlib.sha256(data).hexdigest(), len(data), 0o755, lambda: data)
