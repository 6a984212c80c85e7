"""
What an image says of how it was made: a record of its build, its manifest, or what the image was written to.

A directory is held against its manifest: one that was altered says nothing about a build.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from images import buildinfo, manifest as manifests
from images.buildinfo import BuildInfo, Written
from images.errors import ManifestError
from images.image import LAUNCHER, MANIFEST, PLAN
from images.layers import Layers
from images.layout.files import is_layout, read_files
from images.layout.graph import parse
from images.layout.layers import archives
from images.layout_written import one_image, written_in
from images.manifest import MAX_BYTES, Manifest
from images.source import DirectorySource, Found, Source
from images.tree import Kind
from shim.canonical import sha256_hex


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    What is known of a build.

    Attributes:
        where: Its name, for messages.
        info: The manifest, and how the image was written.
        digest: SHA-256 of the manifest's bytes.
    """

    where: str
    info: BuildInfo
    digest: str


def recorded(path: Path) -> Recorded:
    """
    Return what is known of the build of an image.

    Args:
        path: A manifest, what `shim build --buildinfo` wrote, an OCI layout or the directory of an image.

    Raises:
        ManifestError: none of these; a manifest that contradicts itself, or that its image contradicts.
        LayoutError: a layout that is damaged or altered, or has more than one image.
        SourceError: a file of the directory that cannot be read.
        OSError: the file cannot be read.
    """
    where = str(path)
    if is_layout(path):
        info = _of_layout(path)
    elif path.is_dir():
        info = _of_directory(path)
    else:
        with path.open("rb") as file:
            info = buildinfo.loads(file.read(MAX_BYTES + 1), where)
    _check(info.manifest, where)
    return Recorded(where, info, sha256_hex(manifests.dumps(info.manifest)))


def _of_layout(path: Path) -> BuildInfo:
    where = str(path)
    layout = parse(read_files(path), where)
    image = one_image(layout)
    files = Layers(where)
    for archive in archives(layout, image):
        files.apply(archive, where)
    manifest = _manifest(files, where)
    _check_files(manifest, files, where)
    known = {MANIFEST, *(item.path for item in manifest.items)}
    for place in _places(files, "/"):
        if place not in known:
            raise ManifestError(f"{where}: {place}", "something", "nothing, as its manifest says")
    return BuildInfo(manifest, written_in(layout, image))


def _of_directory(path: Path) -> BuildInfo:
    where = str(path)
    files = DirectorySource(where)
    manifest = _manifest(files, where)
    _check_files(manifest, files, where)
    text = manifests.dumps(manifest)
    size = len(text) + sum(item.size for item in manifest.items)
    return BuildInfo(manifest, Written("rootfs", size=size, sha256=sha256_hex(text)))


def _manifest(files: Source, where: str) -> Manifest:
    data = files.read(MANIFEST)
    if data is None:
        want = "an image of shim build, its manifest, or what --buildinfo wrote"
        raise ManifestError(f"{where}: {MANIFEST}", "no such file", want)
    return manifests.loads(data, f"{where}: {MANIFEST}")


def _check(manifest: Manifest, where: str) -> None:
    """Check that what a manifest says twice is the same."""
    digests = {item.path: item.sha256 for item in manifest.items}
    launcher = next((one.sha256 for one in manifest.inputs if one.name == "launcher"), "")
    for path, want in ((PLAN, manifest.plan), (LAUNCHER, launcher)):
        found = digests.get(path, "nothing")
        if found != want:
            raise ManifestError(f"{where}: {path}", found, f"{want or 'a digest'}, as it says elsewhere")


def _check_files(manifest: Manifest, files: Source, where: str) -> None:
    """Check that the files of an image are those of its manifest."""
    kinds = {Kind.FILE: Found.FILE, Kind.DIRECTORY: Found.DIRECTORY, Kind.SYMLINK: Found.SYMLINK}
    for item in manifest.items:
        node = files.node(item.path)
        if node is None or node.kind is not kinds[item.kind]:
            found = "nothing" if node is None else f"a {node.kind}"
        elif item.kind is Kind.FILE:
            found = files.content(item.path).sha256
        else:
            found = node.target
        if found != (item.sha256 if item.kind is Kind.FILE else item.target):
            want = f"{item.sha256 or item.target or f'a {item.kind}'}, as its manifest says"
            raise ManifestError(f"{where}: {item.path}", found, want)


def _places(files: Layers, directory: str) -> Iterable[str]:
    for name in files.names(directory):
        place = f"{directory.rstrip('/')}/{name}"
        yield place
        yield from _places(files, place)
