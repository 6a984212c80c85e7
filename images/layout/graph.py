"""
What an image layout holds: images and what belongs to them, every blob held against what names it.

The walk starts at index.json and ends with nothing left over: a blob that is missing, altered or named by
nobody is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from attestation import json_document
from attestation.json_document import JsonObject
from images.layout import descriptor as descriptors
from images.layout.descriptor import (
    DOCKER_INDEX_TYPE,
    DOCKER_MANIFEST_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    Descriptor,
)
from images.layout.errors import LayoutError, reading
from images.layout.files import BLOBS, INDEX_FILE, LAYOUT_FILE, blob_name, blobs_of

VERSION = "1.0.0"
MAX_DOCUMENT, MAX_DEPTH, MAX_MANIFESTS = 4 << 20, 3, 1000
_SOURCE = "OCI image-spec 1.1, manifest.md and image-index.md"


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    One image for one platform, or an artifact that belongs to an image.

    Attributes:
        descriptor: By which it is named.
        artifact_type: What it is if no image: its own word for it, or the type of its configuration.
        config: Its configuration.
        layers: Its layers, the lowest first; of an artifact its parts.
        subject: The manifest that it belongs to, or None.
        annotations: Its own.
    """

    descriptor: Descriptor
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Index:
    """Several manifests under one name."""

    descriptor: Descriptor
    entries: tuple[Manifest | Index, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """
    A layout whose blobs are all there, unaltered, and named by something.

    Made by `parse` only, which checks that.

    Attributes:
        where: Its name, for messages.
        files: By their names in it.
        index: index.json as JSON.
        entries: What index.json names, in its order.
    """

    where: str
    files: Mapping[str, bytes]
    index: JsonObject
    entries: tuple[Manifest | Index, ...]

    def blob(self, of: Descriptor) -> bytes:
        """Return the blob that one of its descriptors names."""
        return self.files[blob_name(of.digest)]

    def manifests(self) -> Iterator[Manifest]:
        """Yield every manifest, those inside of indexes too."""
        for entry in self.entries:
            yield from manifests_in(entry)


def manifests_in(entry: Manifest | Index) -> Iterator[Manifest]:
    """Yield a manifest, or all those of an index."""
    if isinstance(entry, Manifest):
        yield entry
    else:
        for below in entry.entries:
            yield from manifests_in(below)


def parse(files: Mapping[str, bytes], where: str) -> Layout:
    """
    Return what the files of a layout say.

    Args:
        files: All of them, by their names in it.
        where: The layout's name, for messages.

    Raises:
        LayoutError: the layout is of another version, a document is no such document, a blob is missing, has
            another size or another digest, or is named by nothing.

    Not checked:
        That anybody signed it; what its layers unpack to (`images.layout.layers`).

    Source:
        OCI image-spec 1.1, image-layout.md, image-index.md and manifest.md.
    """
    walk = _Walk(where, files)
    index, entries = walk.start()
    left = sorted(blobs_of(files) - walk.seen)
    if left:
        raise LayoutError(
            f"{where}/{BLOBS}", f"{left[0]}, which nothing names", "only what index.json leads to"
        )
    return Layout(where, files, index, entries)


def parse_part(files: Mapping[str, bytes], where: str, chosen: Callable[[Descriptor], bool]) -> Layout:
    """
    Return what a layout says that another tool has made, as far as it is chosen.

    Every blob that is led to is held against what names it, as by `parse`.  Docker's names of types count as
    OCI's; entries of other types are passed over, and so are blobs that nothing names.

    Args:
        files: By their names in it.
        where: The layout's name, for messages.
        chosen: Which manifests and indexes are followed.

    Raises:
        LayoutError: as `parse`, but for what is left over or of another type.
    """
    index, entries = _Walk(where, files, chosen=chosen, foreign=True).start()
    return Layout(where, files, index, entries)


def pruned(files: Mapping[str, bytes], where: str) -> dict[str, bytes]:
    """Return the files of a layout without the blobs that nothing names; raises LayoutError as `parse`."""
    walk = _Walk(where, files)
    walk.start()
    named = {blob_name(digest) for digest in walk.seen}
    return {name: data for name, data in files.items() if name in {LAYOUT_FILE, INDEX_FILE} | named}


@dataclass(slots=True)
class _Walk:
    where: str
    files: Mapping[str, bytes]
    seen: set[str] = field(default_factory=set)
    manifests: int = 0
    chosen: Callable[[Descriptor], bool] = lambda _: True
    foreign: bool = False

    def start(self) -> tuple[JsonObject, tuple[Manifest | Index, ...]]:
        with reading():
            self._check_version()
            index = json_document.read(self.file(INDEX_FILE), f"{self.where}/{INDEX_FILE}")
            return index, self.entries(index, 0)

    def _check_version(self) -> None:
        document = json_document.read(self.file(LAYOUT_FILE), f"{self.where}/{LAYOUT_FILE}")
        if document.text("imageLayoutVersion") != VERSION:
            raise document.wrong("imageLayoutVersion", document.members["imageLayoutVersion"], VERSION)

    def file(self, name: str) -> bytes:
        if name not in self.files:
            raise LayoutError(f"{self.where}/{name}", "no such file", "every file of an image layout")
        if len(self.files[name]) > MAX_DOCUMENT:
            size = len(self.files[name])
            raise LayoutError(f"{self.where}/{name}", f"{size} bytes", f"at most {MAX_DOCUMENT} bytes")
        return self.files[name]

    def entries(self, index: JsonObject, depth: int) -> tuple[Manifest | Index, ...]:
        if index.number("schemaVersion", 2) != 2:
            raise index.wrong("schemaVersion", index.members["schemaVersion"], "2")
        if depth > MAX_DEPTH:
            raise LayoutError(index.where, f"more than {MAX_DEPTH} indexes in one another", "fewer")
        found = (self._entry(part, depth) for part in index.parts("manifests"))
        return tuple(entry for entry in found if entry is not None)

    def _entry(self, part: JsonObject, depth: int) -> Manifest | Index | None:
        self.manifests += 1
        if self.manifests > MAX_MANIFESTS:
            raise LayoutError(part.where, f"more than {MAX_MANIFESTS} manifests", "fewer")
        named = descriptors.read(part)
        is_index = named.media_type == INDEX_TYPE or (self.foreign and named.media_type == DOCKER_INDEX_TYPE)
        manifests = (MANIFEST_TYPE, DOCKER_MANIFEST_TYPE) if self.foreign else (MANIFEST_TYPE,)
        if not is_index and named.media_type not in manifests:
            if self.foreign:
                return None
            want = f"{MANIFEST_TYPE} or {INDEX_TYPE}"
            raise LayoutError(f"{part.where}.mediaType", repr(named.media_type)[:90], want, _SOURCE)
        if not self.chosen(named):
            return None
        self.check(named, part.where)
        document = json_document.read(
            self.file(blob_name(named.digest)), f"{self.where}: {named.digest[:16]}"
        )
        _check_type(document, named)
        if is_index:
            return Index(named, self.entries(document, depth + 1))
        return self._manifest(document, named)

    def _manifest(self, document: JsonObject, named: Descriptor) -> Manifest:
        if document.number("schemaVersion", 2) != 2:
            raise document.wrong("schemaVersion", document.members["schemaVersion"], "2")
        config = descriptors.read(document.part("config"))
        layers = tuple(descriptors.read(part) for part in document.parts("layers"))
        for blob, name in ((config, "config"), *((layer, "layers") for layer in layers)):
            self.check(blob, f"{document.where}.{name}")
        subject = descriptors.read(document.part("subject")) if "subject" in document else None
        own = document.text("artifactType") if "artifactType" in document else ""
        if named.artifact_type not in ("", own or config.media_type):
            raise LayoutError(
                document.where, f"artifactType {own!r}", f"{named.artifact_type!r}, as it is named by"
            )
        noted = descriptors.annotations_of(document)
        return Manifest(named, own or config.media_type, config, layers, subject, noted)

    def check(self, blob: Descriptor, by: str) -> None:
        """Hold a blob against what names it."""
        name = blob_name(blob.digest)
        if name not in self.files:
            raise LayoutError(f"{self.where}/{name}", "no such file", f"the blob that {by} names")
        data = self.files[name]
        if len(data) != blob.size:
            raise LayoutError(f"{self.where}/{name}", f"{len(data)} bytes", f"{blob.size}, as {by} says")
        if blob.data is not None and blob.data != data:
            raise LayoutError(f"{by}.data", "other bytes", "those of the blob")
        if blob.digest not in self.seen:
            found = hashlib.sha256(data).hexdigest()
            if found != blob.digest:
                raise LayoutError(f"{self.where}/{name}", f"sha256 {found}", "the digest that it is named by")
            self.seen.add(blob.digest)


def _check_type(document: JsonObject, named: Descriptor) -> None:
    """A document that can be read as two things is neither: CVE-2021-41190."""
    if "mediaType" in document and document.text("mediaType") != named.media_type:
        raise document.wrong(
            "mediaType", document.members["mediaType"], f"{named.media_type}, as it is named by"
        )
    both = [name for name in ("manifests", "layers") if name in document]
    if len(both) != 1:
        raise LayoutError(
            document.where, " and ".join(both) or "neither", "either manifests or layers", _SOURCE
        )
