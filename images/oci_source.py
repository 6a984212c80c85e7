"""
The files of an image that lies in an OCI layout, every blob checked against its digest.

What is trusted is the digest of the manifest, which ends up in the manifest of what is built from it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from images.errors import SourceError
from images.layers import MAX_BYTES, Layers

MAX_DOCUMENT, MAX_BLOB, MAX_LAYERS, MAX_DEPTH = 4 << 20, 4 << 30, 512, 3
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def open_layout(directory: str, *, limit: int = MAX_BYTES, architecture: str = "amd64") -> Layers:
    """
    Return the files of the image in the layout at `directory`.

    Args:
        directory: Holds oci-layout, index.json and blobs.
        limit: Bytes that its layers may have together, unpacked.
        architecture: Which one, as OCI calls it, where there are several.

    Raises:
        SourceError: no layout, none or several images, a blob that is missing or not what its digest says,
            a layer that is hostile or too large.

    Source:
        OCI image-spec 1.1, image-layout.md; image-index.md; manifest.md.
    """
    blobs = _Blobs(Path(directory))
    blobs.check_version()
    digest, manifest = _manifest(blobs, blobs.index(), architecture)
    config = _document(blobs, _field(manifest, "config", dict, directory))
    layers = _field(manifest, "layers", list, directory)
    diff_ids = _field(_field(config, "rootfs", dict, directory), "diff_ids", list, directory)
    if len(layers) != len(diff_ids) or len(layers) > MAX_LAYERS:
        want = f"{len(layers)} in the manifest, at most {MAX_LAYERS}"
        raise SourceError(f"{directory}: rootfs.diff_ids", f"{len(diff_ids)} layers", want)
    files = Layers(f"oci sha256:{digest}", limit)
    for descriptor, diff_id in zip(layers, diff_ids, strict=True):
        where = f"{directory}: layer {_hex(descriptor, directory)[:16]}"
        archive = files.unpacked(blobs.blob(descriptor, MAX_BLOB), where)
        found = f"sha256:{hashlib.sha256(archive).hexdigest()}"
        if found != diff_id:
            raise SourceError(f"{where}: unpacked", found, f"{diff_id}, as the configuration says")
        files.apply(archive, where)
    return files


class _Blobs:
    """The files of a layout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def check_version(self) -> None:
        document = _json(self._read("oci-layout", MAX_DOCUMENT), f"{self.directory}/oci-layout")
        if document.get("imageLayoutVersion") != "1.0.0":
            found = repr(document.get("imageLayoutVersion"))
            raise SourceError(f"{self.directory}: imageLayoutVersion", found, "1.0.0")

    def index(self) -> dict[str, Any]:
        return _json(self._read("index.json", MAX_DOCUMENT), f"{self.directory}/index.json")

    def blob(self, descriptor: object, limit: int) -> bytes:
        """Return a blob that is what its descriptor says."""
        digest = _hex(descriptor, str(self.directory))
        where = f"{self.directory}: blob {digest}"
        data = self._read(f"blobs/sha256/{digest}", limit)
        size = descriptor.get("size") if isinstance(descriptor, dict) else None
        if len(data) != size:
            raise SourceError(where, f"{len(data)} bytes", f"{size}, as its descriptor says")
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise SourceError(where, f"sha256 {found}", "the digest that it is named by")
        return data

    def _read(self, name: str, limit: int) -> bytes:
        place = self.directory / name
        try:
            with place.open("rb") as file:
                data = file.read(limit + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(str(place), reason, "a file of an OCI layout") from error
        if len(data) > limit:
            raise SourceError(str(place), f"more than {limit} bytes", "fewer")
        return data


def _manifest(
    blobs: _Blobs, index: dict[str, Any], architecture: str, depth: int = 0
) -> tuple[str, dict[str, Any]]:
    """Return the digest and the manifest of the one image for the architecture."""
    where = str(blobs.directory)
    fitting = [one for one in _field(index, "manifests", list, where) if _fits(one, architecture)]
    if len(fitting) != 1:
        raise SourceError(f"{where}: index", f"{len(fitting)} images for {architecture}", "one")
    document = _document(blobs, fitting[0])
    kind = fitting[0].get("mediaType")
    if kind in _INDEXES:
        if depth == MAX_DEPTH:
            raise SourceError(f"{where}: index", f"more than {MAX_DEPTH} inside one another", "an image")
        return _manifest(blobs, document, architecture, depth + 1)
    if kind not in _MANIFESTS:
        raise SourceError(f"{where}: mediaType", repr(kind), "an image's")
    return _hex(fitting[0], where), document


def _fits(descriptor: object, architecture: str) -> bool:
    """Whether a descriptor is of the architecture; without a platform it may be."""
    if not isinstance(descriptor, dict) or descriptor.get("mediaType") not in (*_INDEXES, *_MANIFESTS):
        return False
    platform = descriptor.get("platform")
    return not isinstance(platform, dict) or (
        platform.get("architecture") == architecture and platform.get("os") == "linux"
    )


def _document(blobs: _Blobs, descriptor: object) -> dict[str, Any]:
    return _json(blobs.blob(descriptor, MAX_DOCUMENT), f"{blobs.directory}: {_hex(descriptor, '')[:16]}")


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(where, "no JSON", "a document of an OCI layout") from error
    if not isinstance(value, dict):
        raise SourceError(where, f"a {type(value).__name__}", "an object")
    return value


def _field(value: object, name: str, kind: type, where: str) -> Any:  # noqa: ANN401  # of the kind asked for
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise SourceError(f"{where}: {name}", type(found).__name__, f"a {kind.__name__}")
    return found


def _hex(descriptor: object, where: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise SourceError(f"{where}: digest", repr(digest), "sha256: and 64 hexadecimal digits")
    return match[1]
