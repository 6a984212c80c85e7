"""`shim debug IMAGE`: what is in an image, what its plan says, and who vouches for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from images.anatomy import Anatomy, FileFacts
    from images.layers import Layers
    from images.trust.result import TrustResult
    from shim.canonical import JsonValue
    from shim.cli.image_parts import LaunchedImage

PREDICATE = "dev.sigstore.bundle.predicateType"
_ATTACHED = {"spdx": "SBOM", "cyclonedx": "SBOM", "openvex": "VEX", "slsa.dev/provenance": "provenance"}


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image, opened: its parts, its files, and what a policy says of it, None if none was asked."""

    image: LaunchedImage
    layers: Layers
    anatomy: Anatomy
    result: TrustResult | None


def view(path: str, policy: Path | None, bundles: tuple[Path, ...]) -> ImageView:
    """
    Return an image of shim build, opened.

    Raises:
        ShimError: no such image, a damaged or hostile one, or one that the policy refuses.
    """
    from images.anatomy import anatomy
    from images.layers import Layers
    from shim.cli.image_parts import launched_image, vouched

    layout, result = vouched(path, policy, bundles)
    image = launched_image(layout, os.uname().machine, alone=True)
    layers = Layers(path)
    for number, archive in enumerate(image.archives):
        layers.apply(archive, f"{path}: layer {number}")
    return ImageView(image, layers, anatomy(layers), result)


def one_file(found: ImageView, path: str) -> FileFacts:
    """
    Return what an image has at a path, given with or without the leading slash; links above it are followed.

    Raises:
        SourceError: nothing.
    """
    from images.errors import SourceError

    wanted = "/" + path.strip("/")
    above, _, name = wanted.rpartition("/")
    file = found.anatomy.find(f"{found.layers.canonical(above or '/').rstrip('/')}/{name}")
    if file is None:
        raise SourceError(f"{found.image.layout.where}: {wanted}", "nothing", "a path in the image")
    return file


def value(found: ImageView) -> dict[str, JsonValue]:
    """Return all of it as JSON."""
    from shim.launch.plan_codec import decode
    from shim.launch.plan_words import facts

    anatomy, image = found.anatomy, found.image
    manifest = anatomy.manifest
    digests = {one.sha256: one.path for one in anatomy.files if one.sha256}
    return {
        "layout": image.layout.where,
        "manifest": f"sha256:{image.image.descriptor.digest}",
        "entry_point": list(image.entry_point),
        "user": None if image.user is None else list(image.user),
        "request": None if manifest is None else list(manifest.request),
        "inputs": None
        if manifest is None
        else [{"name": one.name, "sha256": one.sha256, "detail": one.detail} for one in manifest.inputs],
        "tool_version": None if manifest is None else manifest.tool_version,
        "release": anatomy.release,
        "plan": facts(decode(image.plan), digests),
        "trust": None if found.result is None else found.result.value(),
        "attached": list(_attached(found)),
        "problems": [_readable(text) for text in anatomy.problems],
        "files": [file_value(one) for one in anatomy.files],
    }


def file_value(one: FileFacts) -> dict[str, JsonValue]:
    """Return one file as JSON."""
    reason = one.reason
    return {
        "path": _readable(one.path),
        "kind": one.kind,
        "mode": f"{one.mode:04o}",
        "size": one.size,
        "sha256": one.sha256,
        "target": _readable(one.target),
        "reason": None if reason is None else {"rule": reason.rule, "by": reason.by, "detail": reason.detail},
        "differs": [_readable(text) for text in one.differs],
        "packages": list(one.packages),
    }


def _attached(found: ImageView) -> Iterator[JsonValue]:
    """Yield what belongs to the image in its layout, by its own account: SBOMs, provenance, signatures."""
    from images.layout.contents import SIGNATURE_TYPE, contents_of
    from images.trust.claims import count_signatures

    layout = found.image.layout
    contents = contents_of(layout)
    for image in contents.images:
        if signatures := count_signatures(contents, image):
            yield {"what": "signatures", "type": SIGNATURE_TYPE, "count": signatures, "said": {}}
    for one in contents.attachments:
        about = f"{one.artifact_type} {one.annotations.get(PREDICATE, '')}"
        what = next((word for part, word in _ATTACHED.items() if part in about), "something else")
        yield {"what": what, "type": one.artifact_type, "count": 1, "said": dict(one.annotations)}


def _readable(text: str) -> str:
    """Return a text whose bytes that are no UTF-8 are escaped, as JSON wants it."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
