"""How an image in an OCI layout was written, read from the layout itself, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping

from attestation import json_document
from images.buildinfo import Written
from images.compress import Compression, level_of
from images.layout.contents import contents_of
from images.layout.errors import LayoutError, reading
from images.layout.graph import Layout, Manifest, parse
from images.oci import COMPRESSOR_ANNOTATION, LAYER_TYPES

OWN_LABEL = "tee-shim.plan"


def written_of(files: Mapping[str, bytes], where: str) -> Written:
    """
    Return how the one image in the files of a layout was written.

    Raises:
        LayoutError: as `one_image` and `written_in`.
    """
    layout = parse(files, where)
    return written_in(layout, one_image(layout))


def one_image(layout: Layout) -> Manifest:
    """
    Return the image of a layout that has one, for one platform, whatever belongs to it.

    Raises:
        LayoutError: there are several, or one for several platforms.
    """
    images = contents_of(layout).images
    if len(images) != 1 or not isinstance(images[0], Manifest):
        found = f"{len(images)} images" if len(images) != 1 else "an index of images"
        raise LayoutError(f"{layout.where}/index.json", found, "one image for one platform")
    return images[0]


def written_in(layout: Layout, image: Manifest) -> Written:
    """
    Return how an image of a layout was written: compressor, labels, user and tag.

    Raises:
        LayoutError: a configuration or a layer that `shim build` does not write.
    """
    with reading():
        where = f"{layout.where}: config of {image.descriptor.digest[:16]}"
        document = json_document.read(layout.blob(image.config), where)
        config = document.part("config")
        labels = config.part("Labels").members if "Labels" in config else {}
        user = config.text("User") if "User" in config else ""
    kinds = {kind: name for name, kind in LAYER_TYPES.items()}
    if len(image.layers) != 1 or image.layers[0].media_type not in kinds:
        found = f"{len(image.layers)} layers" if len(image.layers) != 1 else image.layers[0].media_type
        raise LayoutError(f"{layout.where}: layers", found[:90], "one layer, as shim build writes it")
    layer = image.layers[0]
    compression = kinds[layer.media_type]
    compressor = layer.annotations.get(COMPRESSOR_ANNOTATION, "")
    return Written(
        "oci",
        str(compression),
        level_of(compressor) if compression is not Compression.NONE else None,
        compressor,
        tuple(sorted((name, str(value)) for name, value in labels.items() if name != OWN_LABEL)),
        user,
        image.descriptor.reference,
        size=sum(one.size for one in (image.descriptor, image.config, layer)),
        sha256=image.descriptor.digest,
    )
