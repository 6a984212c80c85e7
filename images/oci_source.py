"""
The files of an image that lies in an OCI layout, whoever made it, every blob checked against its digest.

What is trusted is the digest of the manifest, which ends up in the manifest of what is built from it.
"""

from __future__ import annotations

from pathlib import Path

from images.errors import SourceError
from images.layers import MAX_BYTES, Layers
from images.layout.contents import is_signature
from images.layout.descriptor import Descriptor
from images.layout.errors import LayoutError
from images.layout.files import ChosenFiles
from images.layout.graph import Layout, Manifest, parse_part
from images.layout.layers import foreign_archives, is_image


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
    try:
        layout = parse_part(
            ChosenFiles(Path(directory)), directory, lambda named: _fits(named, f"linux/{architecture}")
        )
        image = _image(layout, architecture)
        files = Layers(f"oci sha256:{image.descriptor.digest}")
        for where, archive in foreign_archives(layout, image, limit):
            files.apply(archive, where)
    except LayoutError as fault:
        raise SourceError(fault.where, fault.found, fault.want, fault.source) from fault
    return files


def _fits(named: Descriptor, platform: str) -> bool:
    """Whether a descriptor is of the platform, in any variant; without one it may be."""
    return not named.platform or f"{named.platform}/".startswith(f"{platform}/")


def _image(layout: Layout, architecture: str) -> Manifest:
    """Return the one image; what signatures, SBOMs and the like are, is none."""
    images = [one for one in layout.manifests() if is_image(one) and not is_signature(one)]
    if len(images) != 1:
        raise LayoutError(f"{layout.where}: index", f"{len(images)} images for {architecture}", "one")
    return images[0]
