"""One blob of an image as others name it: its type, size and digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from attestation.json_document import JsonObject
from images.layout.errors import LayoutError
from shim.canonical import JsonValue

MAX_SIZE = 1 << 40
_PREFIX = "application/vnd.oci.image"
MANIFEST_TYPE, INDEX_TYPE = f"{_PREFIX}.manifest.v1+json", f"{_PREFIX}.index.v1+json"
CONFIG_TYPE, EMPTY_TYPE = f"{_PREFIX}.config.v1+json", "application/vnd.oci.empty.v1+json"
# Docker's names for the same, which some tools keep: distribution, manifest-v2-2.md, "Media Types".
_DOCKER = "application/vnd.docker"
DOCKER_MANIFEST_TYPE = f"{_DOCKER}.distribution.manifest.v2+json"
DOCKER_INDEX_TYPE = f"{_DOCKER}.distribution.manifest.list.v2+json"
DOCKER_CONFIG_TYPE = f"{_DOCKER}.container.image.v1+json"
DOCKER_LAYER_TYPE = f"{_DOCKER}.image.rootfs.diff.tar"
REFERENCE = "org.opencontainers.image.ref.name"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SOURCE = 'OCI image-spec 1.1, descriptor.md, "Properties"'


@dataclass(frozen=True, slots=True)
class Descriptor:
    """
    A blob by what names it.

    Attributes:
        media_type: Its type.
        digest: SHA-256, 64 hexadecimal digits.
        size: In bytes.
        artifact_type: That of the artifact which a manifest describes, or "".
        annotations: As they stand there.
        platform: "os/architecture" with a variant behind it, or "".
        data: The blob itself, where it is embedded.
    """

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    data: bytes | None = None

    @classmethod
    def of(cls, media_type: str, blob: bytes) -> Descriptor:
        """Return the descriptor of a blob."""
        return cls(media_type, hashlib.sha256(blob).hexdigest(), len(blob))

    @property
    def reference(self) -> str:
        """The name by which tools find it in a layout, or ""."""
        return self.annotations.get(REFERENCE, "")

    def value(self) -> dict[str, JsonValue]:
        """Return the descriptor as JSON; what it says of a platform is left out."""
        value: dict[str, JsonValue] = {
            "mediaType": self.media_type,
            "digest": f"sha256:{self.digest}",
            "size": self.size,
        }
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


def read(document: JsonObject) -> Descriptor:
    """
    Return a descriptor.

    Raises:
        EvidenceFormatError: a member is missing or something else.
        LayoutError: another digest than SHA-256, or one that is none.

    Source:
        OCI image-spec 1.1, descriptor.md, "Properties" and "Digests".
    """
    digest = _DIGEST.fullmatch(document.text("digest"))
    if digest is None:
        want = "sha256: and 64 hexadecimal digits"
        raise LayoutError(f"{document.where}.digest", repr(document.text("digest"))[:90], want, _SOURCE)
    return Descriptor(
        document.text("mediaType"),
        digest[1],
        document.number("size", MAX_SIZE),
        document.text("artifactType") if "artifactType" in document else "",
        annotations_of(document),
        _platform(document),
        _data(document),
    )


def annotations_of(document: JsonObject) -> dict[str, str]:
    """Return the annotations of an object, none where it has none; raises EvidenceFormatError."""
    if "annotations" not in document:
        return {}
    part = document.part("annotations")
    return {name: part.text(name) for name in part.members}


def _platform(document: JsonObject) -> str:
    if "platform" not in document:
        return ""
    part = document.part("platform")
    names = ("os", "architecture", *(("variant",) if "variant" in part else ()))
    return "/".join(part.text(name) for name in names)


def _data(document: JsonObject) -> bytes | None:
    if "data" not in document:
        return None
    try:
        return base64.b64decode(document.text("data"), validate=True)
    except binascii.Error as error:
        raise LayoutError(f"{document.where}.data", "no base64", "the blob in base64", _SOURCE) from error
