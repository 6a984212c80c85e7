"""
Signatures of an image as cosign stores them: a manifest that belongs to the image, a payload for each.

Source:
    sigstore/cosign, specs/SIGNATURE_SPEC.md, "Storage"; OCI image-spec 1.1, manifest.md, `subject`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from images.layout.artifact import Artifact, Part
from images.layout.contents import SIGNATURE_TYPE
from images.layout.descriptor import CONFIG_TYPE, Descriptor
from images.layout.errors import LayoutError
from images.layout.graph import Layout, Manifest
from images.signature import base64_text, simple_signing
from images.signature.errors import SignatureFormatError
from shim.canonical import JsonValue, canonical_bytes

ANNOTATION = "dev.cosignproject.cosign/signature"


@dataclass(frozen=True, slots=True)
class Stored:
    """A payload and a signature over it."""

    payload: bytes
    signature: bytes


def artifact_of(subject: Descriptor, signatures: Sequence[Stored]) -> Artifact:
    """Return the signatures of an image, as an artifact that belongs to it."""
    parts = tuple(
        Part(simple_signing.MEDIA_TYPE, one.payload, {ANNOTATION: base64_text.encode(one.signature)})
        for one in signatures
    )
    return Artifact(SIGNATURE_TYPE, subject, parts, _config(parts))


def signatures_in(layout: Layout, signature: Manifest) -> tuple[Stored, ...]:
    """
    Return the signatures that a manifest holds; what else cosign noted beside them is left alone.

    Raises:
        SignatureFormatError: a payload of another type, or a signature that is no base64.
    """
    found = []
    for layer in signature.layers:
        where = f"{layout.where}: signature {layer.digest[:16]}"
        if layer.media_type != simple_signing.MEDIA_TYPE:
            want = simple_signing.MEDIA_TYPE
            raise SignatureFormatError(f"{where}.mediaType", repr(layer.media_type)[:90], want)
        made = base64_text.decode(layer.annotations.get(ANNOTATION, ""), f"{where}.{ANNOTATION}")
        found.append(Stored(layout.blob(layer), made))
    return tuple(found)


def check_spelling(layout: Layout, signature: Manifest) -> None:
    """
    Check that a manifest of signatures says nothing but what follows from them, as `artifact_of` writes it.

    Raises:
        LayoutError: it does.
        SignatureFormatError: as `signatures_in`.
    """
    stored = signatures_in(layout, signature)
    if (
        signature.subject is None
        or layout.blob(signature.descriptor) != artifact_of(signature.subject, stored).encoded()
    ):
        where = f"{layout.where}: signatures {signature.descriptor.digest[:16]}"
        raise LayoutError(where, "another spelling", "the spelling that shim sign writes")


def _config(parts: Sequence[Part]) -> Part:
    """Registries and tools of before OCI 1.1 take signatures for an image, which has a configuration."""
    value: dict[str, JsonValue] = {
        "architecture": "",
        "config": {},
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{part.descriptor.digest}" for part in parts]},
    }
    return Part(CONFIG_TYPE, canonical_bytes(value))
