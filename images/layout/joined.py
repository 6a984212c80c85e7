"""
One index above the images of several layouts, one image for each platform.

The images stay what they are, byte for byte, and what is attached to them stays attached; signatures do not,
because what they cover is another layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from images.layout import contents as layout_contents
from images.layout.descriptor import INDEX_TYPE, REFERENCE, Descriptor
from images.layout.errors import LayoutError
from images.layout.files import INDEX_FILE, LAYOUT_FILE, blob_name
from images.layout.graph import Layout, Manifest, manifests_in, parse, pruned
from images.layout.layers import platform_of
from shim.canonical import JsonValue, canonical_bytes

_PLATFORM = ("os", "architecture", "variant")


@dataclass(frozen=True, slots=True)
class Joined:
    """
    Several images under one name.

    Attributes:
        layout: With an index, and what is attached to its images.
        platforms: Digest of each image by its platform, in the order of the index.
        left_out: What the layouts had and this one cannot have, one line each.
    """

    layout: Layout
    platforms: Mapping[str, str]
    left_out: tuple[str, ...]


def joined(layouts: Sequence[Layout], reference: str, where: str) -> Joined:
    """
    Return a layout with one index, which has the images of `layouts`.

    Args:
        layouts: Each with one image or more, those inside of indexes included.
        reference: The name by which tools find the index, such as "latest"; each image has one as well, with
            its architecture behind it.
        where: The new layout's name, for messages.

    Raises:
        LayoutError: no layout, an image that does not say its platform, two for the same one.

    Source:
        OCI image-spec 1.1, image-index.md, "Image Index Property Descriptions".
    """
    images = _by_platform(layouts, where)
    named = {manifest.descriptor.digest for _, manifest in images.values()}
    index = canonical_bytes(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [_entry(platform, image.descriptor) for platform, (_, image) in images.items()],
        }
    )
    top = Descriptor.of(INDEX_TYPE, index)
    entries: list[JsonValue] = [top.value() | {"annotations": {REFERENCE: reference}}]
    entries += [_named(platform, image.descriptor, reference) for platform, (_, image) in images.items()]
    entries += [value for one in layouts for value in _attached(one, named)]
    files = {name: data for one in layouts for name, data in one.files.items()}
    files[blob_name(top.digest)] = index
    files[LAYOUT_FILE] = layout_contents.LAYOUT_BYTES
    members: Mapping[str, JsonValue] = {"schemaVersion": 2, "mediaType": INDEX_TYPE}
    unique = list({str(value): value for value in entries}.values())
    files[INDEX_FILE] = canonical_bytes({**members, "manifests": unique})
    platforms = {platform: image.descriptor.digest for platform, (_, image) in images.items()}
    left_out = tuple(line for one in layouts for line in _left_out(one, named))
    return Joined(parse(pruned(files, where), where), platforms, left_out)


def _by_platform(layouts: Sequence[Layout], where: str) -> dict[str, tuple[Layout, Manifest]]:
    """Return the images by platform, in its order."""
    found: dict[str, tuple[Layout, Manifest]] = {}
    for layout in layouts:
        for entry in layout_contents.contents_of(layout).images:
            for image in manifests_in(entry):
                platform = platform_of(layout, image)
                if image.descriptor.platform.startswith(
                    f"{platform}/"
                ):  # with a variant, which names it better
                    platform = image.descriptor.platform
                other = found.get(platform)
                if other is not None and other[1].descriptor.digest != image.descriptor.digest:
                    both = f"two images for {platform}, the other in {other[0].where}"
                    raise LayoutError(layout.where, both, "one for each platform")
                found[platform] = (layout, image)
    if not found:
        raise LayoutError(where, "no image", "at least one")
    return dict(sorted(found.items()))


def _entry(platform: str, image: Descriptor) -> dict[str, JsonValue]:
    bare = Descriptor(image.media_type, image.digest, image.size)
    return bare.value() | {"platform": dict(zip(_PLATFORM, platform.split("/"), strict=False))}


def _named(platform: str, image: Descriptor, reference: str) -> JsonValue:
    """Return an image under a name of its own: umoci 0.4 finds none behind an index of several."""
    name = "-".join((reference, *platform.split("/")[1:]))
    return _entry(platform, image) | {"annotations": {REFERENCE: name}}


def _attached(layout: Layout, named: set[str]) -> Iterator[JsonValue]:
    """Yield the entries of what is attached to one of the images."""
    for one in layout_contents.contents_of(layout).attachments:
        if one.subject is not None and one.subject.digest in named:
            artifact = one.descriptor
            bare = Descriptor(artifact.media_type, artifact.digest, artifact.size, artifact.artifact_type)
            noted = {name: text for name, text in artifact.annotations.items() if name != REFERENCE}
            yield bare.value() | ({"annotations": dict(noted)} if noted else {})


def _left_out(layout: Layout, named: set[str]) -> Iterator[str]:
    contents = layout_contents.contents_of(layout)
    if contents.signatures:
        yield f"{layout.where}: its signatures, which cover that layout: sign the new one"
    for one in contents.attachments:
        if one.subject is None or one.subject.digest not in named:
            yield f"{layout.where}: {one.artifact_type}, which belongs to an index"
