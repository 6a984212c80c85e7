"""Something that belongs to an image, as a manifest of its own that names the image as its subject."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from images.layout.descriptor import EMPTY_TYPE, MANIFEST_TYPE, Descriptor
from images.layout.files import blob_name
from images.layout.graph import Manifest
from shim.canonical import JsonValue, canonical_bytes

EMPTY = Descriptor.of(EMPTY_TYPE, b"{}")
_SOURCE = (
    'OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage" and "Guidance for an Empty Descriptor"'
)


@dataclass(frozen=True, slots=True)
class Part:
    """One blob of an artifact."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def descriptor(self) -> Descriptor:
        """What names it."""
        of = Descriptor.of(self.media_type, self.data)
        return Descriptor(of.media_type, of.digest, of.size, annotations=self.annotations)


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    Something that belongs to an image.

    Attributes:
        artifact_type: What it is.
        subject: The image.
        parts: Its blobs.
        config: Its configuration; None for those that need none.
        annotations: Its own.
    """

    artifact_type: str
    subject: Descriptor
    parts: Sequence[Part]
    config: Part | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return its manifest, canonical JSON: OCI image-spec 1.1, manifest.md."""
        config = EMPTY if self.config is None else self.config.descriptor
        named = Descriptor(self.subject.media_type, self.subject.digest, self.subject.size)
        value: dict[str, JsonValue] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": self.artifact_type,
            "config": config.value(),
            "layers": [part.descriptor.value() for part in self.parts],
            "subject": named.value(),
        }
        return canonical_bytes(value | ({"annotations": dict(self.annotations)} if self.annotations else {}))

    def manifest(self) -> Manifest:
        """Return the manifest as it will be read."""
        config = EMPTY if self.config is None else self.config.descriptor
        layers = tuple(part.descriptor for part in self.parts)
        named = Descriptor.of(MANIFEST_TYPE, self.encoded())
        return Manifest(named, self.artifact_type, config, layers, self.subject, self.annotations)

    def entry(self) -> dict[str, Any]:
        """Return what index.json says of it, with its type and annotations, as registries list referrers."""
        named = Descriptor.of(MANIFEST_TYPE, self.encoded())
        shown = Descriptor(named.media_type, named.digest, named.size, self.artifact_type, self.annotations)
        value: dict[str, Any] = json.loads(canonical_bytes(shown.value()))
        return value

    def files(self) -> dict[str, bytes]:
        """Return its blobs by their names in a layout."""
        config = b"{}" if self.config is None else self.config.data
        blobs = [(Descriptor.of(MANIFEST_TYPE, self.encoded()), self.encoded())]
        blobs += [(EMPTY if self.config is None else self.config.descriptor, config)]
        blobs += [(part.descriptor, part.data) for part in self.parts]
        return {blob_name(descriptor.digest): data for descriptor, data in blobs}
