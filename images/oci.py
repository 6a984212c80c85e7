"""
An image as an OCI image layout: one layer, its configuration, a manifest and the index above it.

Everything but the compressed layer follows from the image alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from images.compress import Compression, compress
from images.image import MANIFEST, Image
from images.tar import tar_bytes
from shim.canonical import JsonValue, canonical_bytes

_PREFIX = "application/vnd.oci.image"
LAYOUT_FILE, INDEX_FILE, BLOBS = "oci-layout", "index.json", "blobs/sha256"
LAYER_TYPES = MappingProxyType(
    {
        Compression.NONE: f"{_PREFIX}.layer.v1.tar",
        Compression.GZIP: f"{_PREFIX}.layer.v1.tar+gzip",
        Compression.ZSTD: f"{_PREFIX}.layer.v1.tar+zstd",
    }
)
CONFIG_TYPE, MANIFEST_TYPE = f"{_PREFIX}.config.v1+json", f"{_PREFIX}.manifest.v1+json"
INDEX_TYPE = f"{_PREFIX}.index.v1+json"
_ARCHITECTURES = MappingProxyType({"x86_64": "amd64", "aarch64": "arm64"})
COMPRESSOR_ANNOTATION = "tee-shim.compressor"
REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """
    What a configuration tells runtimes beside the entry point.

    Attributes:
        labels: Names and values.
        user: UID or UID:GID that runs the launcher, and so the program; "" is root.
    """

    labels: tuple[tuple[str, str], ...] = ()
    user: str = ""


DEFAULT_SETTINGS = RuntimeSettings()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by what it is, how large it is and its digest, with annotations."""

    media_type: str
    data: bytes
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    def value(self) -> dict[str, JsonValue]:
        """Return the descriptor as JSON: OCI image-spec 1.1, descriptor.md, "Properties"."""
        value: dict[str, JsonValue] = {
            "mediaType": self.media_type,
            "digest": f"sha256:{self.digest}",
            "size": len(self.data),
        }
        return value | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class OciImage:
    """The blobs of one image for one architecture."""

    layer: Descriptor
    config: Descriptor
    manifest: Descriptor
    arch: str

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """All three, what is named before what names it."""
        return (self.layer, self.config, self.manifest)


def oci_image(
    image: Image,
    compression: Compression = Compression.GZIP,
    settings: RuntimeSettings = DEFAULT_SETTINGS,
    level: int | None = None,
) -> OciImage:
    """
    Return the blobs of an image.

    Args:
        image: What is in it.
        compression: Of the layer.
        settings: What else the configuration says.
        level: Of the compression, as `compress` has it.

    Source:
        OCI image-spec 1.1, config.md, "Properties"; manifest.md, "Image Manifest Property Descriptions".
    """
    archive = tar_bytes(image.tree, image.created)
    packed = compress(archive, compression, level)
    made_by = ((COMPRESSOR_ANNOTATION, packed.compressor),) if packed.compressor else ()
    layer = Descriptor(LAYER_TYPES[compression], packed.data, made_by)
    diff_id = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    config = Descriptor(CONFIG_TYPE, _config(image, diff_id, settings))
    manifest = canonical_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.value(),
            "layers": [layer.value()],
            "annotations": {"org.opencontainers.image.created": _time(image.created)},
        }
    )
    return OciImage(layer, config, Descriptor(MANIFEST_TYPE, manifest), image.arch)


def layout(images: tuple[OciImage, ...], reference: str) -> dict[str, bytes]:
    """
    Return the files of a layout by their names in it.

    Args:
        images: One for each architecture.
        reference: The name by which tools find the image in the layout, such as "latest".

    Source:
        OCI image-spec 1.1, image-layout.md, "Content"; image-index.md, "Image Index Property Descriptions".
    """
    files = {f"{BLOBS}/{blob.digest}": blob.data for image in images for blob in image.blobs}
    manifests: list[JsonValue] = [
        image.manifest.value()
        | {
            "platform": {"architecture": _ARCHITECTURES[image.arch], "os": "linux"},
            "annotations": {REFERENCE_ANNOTATION: reference},
        }
        for image in images
    ]
    index: dict[str, JsonValue] = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    return {
        **dict(sorted(files.items())),
        LAYOUT_FILE: canonical_bytes({"imageLayoutVersion": "1.0.0"}),
        INDEX_FILE: canonical_bytes(index),
    }


def _config(image: Image, diff_id: str, settings: RuntimeSettings) -> bytes:
    manifest = image.manifest
    created = _time(image.created)
    command = json.dumps([manifest.program, *manifest.arguments[1:]])
    value: dict[str, JsonValue] = {
        "created": created,
        "architecture": _ARCHITECTURES[image.arch],
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entry_point),
            "WorkingDir": "/",
            "Labels": {"tee-shim.plan": f"sha256:{manifest.plan}", **dict(settings.labels)},
            **({"User": settings.user} if settings.user else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [
            {
                "created": created,
                "created_by": f"shim build {manifest.tool_version} {command}",
                "comment": f"every file and its reason: {MANIFEST}",
            }
        ],
    }
    return canonical_bytes(value)


def _time(seconds: int) -> str:
    """Return a time as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
