"""From the layers of an image to the archives that they unpack to, held against its configuration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from attestation import json_document
from images.decompress import gunzip, unzstd
from images.layout.descriptor import CONFIG_TYPE, DOCKER_CONFIG_TYPE, DOCKER_LAYER_TYPE, Descriptor
from images.layout.errors import LayoutError, reading
from images.layout.graph import MAX_DOCUMENT, Layout, Manifest
from shim.errors import FoundWantError

MAX_UNPACKED, MAX_LAYERS = 4 << 30, 512
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_FOREIGN_TYPES = MappingProxyType({_LAYER: ("", "+gzip", "+zstd"), DOCKER_LAYER_TYPE: ("", ".gzip", ".zstd")})
_Unpack = Callable[[bytes, str, type[FoundWantError]], Iterator[bytes]]
_USER, _NO_ID = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?"), (1 << 32) - 1
_SOURCE = 'OCI image-spec 1.1, config.md, "Properties", rootfs'


def check_layers(layout: Layout, image: Manifest, limit: int = MAX_UNPACKED) -> None:
    """
    Hold what the layers of an image unpack to against its configuration, without keeping any of it.

    Raises:
        LayoutError: as `archives`.
    """
    for pieces in _unpacked(layout, image, limit):
        for _ in pieces:
            pass


def archives(layout: Layout, image: Manifest, limit: int = MAX_UNPACKED) -> tuple[bytes, ...]:
    """
    Return the layers of an image, unpacked to tar archives, the lowest first.

    Args:
        layout: Holds its blobs.
        image: Its manifest.
        limit: Bytes that all together may have.

    Raises:
        LayoutError: no configuration of an image; a layer that is damaged, of an unknown compression, not
            what the configuration says, or larger than what is left of `limit`.

    Source:
        OCI image-spec 1.1, config.md, "Layer DiffID"; layer.md.
    """
    return tuple(b"".join(pieces) for pieces in _unpacked(layout, image, limit))


def foreign_archives(
    layout: Layout, image: Manifest, limit: int = MAX_UNPACKED
) -> Iterator[tuple[str, bytes]]:
    """
    Yield name and archive of each layer of an image that another tool has made, the lowest first.

    As `archives`, one after the other; Docker's names of types count as OCI's, and what a layer is compressed
    by is what its first bytes say.

    Raises:
        LayoutError: as `archives`.
    """
    for layer, pieces in zip(image.layers, _unpacked(layout, image, limit, _FOREIGN), strict=True):
        yield _where(layout, layer), b"".join(pieces)


def is_image(image: Manifest) -> bool:
    """Whether a manifest is an image's, whoever made it, and belongs to no other."""
    return image.subject is None and image.config.media_type in (CONFIG_TYPE, DOCKER_CONFIG_TYPE)


def platform_of(layout: Layout, image: Manifest) -> str:
    """Return "os/architecture" as the configuration of an image says; raises LayoutError."""
    with reading():
        config = _config(layout, image)
        return f"{config.text('os')}/{config.text('architecture')}"


def entry_point(layout: Layout, image: Manifest) -> tuple[str, ...]:
    """Return what an image executes, its entry point with its default arguments; raises LayoutError."""
    with reading():
        config = _config(layout, image).part("config")
        return (*config.texts("Entrypoint"), *config.texts("Cmd"))


def user_of(layout: Layout, image: Manifest) -> tuple[int, int] | None:
    """
    Return the user and group that an image runs as, None where it does not say.

    Raises:
        LayoutError: names instead of numbers.

    Source:
        OCI image-spec 1.1, config.md, "Properties", User.
    """
    with reading():
        config = _config(layout, image).part("config")
        text = config.text("User") if "User" in config else ""
    if not text:
        return None
    match = _USER.fullmatch(text)
    if match is None or any(int(part or 0) >= _NO_ID for part in match.groups()):
        raise LayoutError(f"{config.where}.User", repr(text)[:90], "UID or UID:GID, in numbers", _SOURCE)
    return int(match[1]), int(match[2] or match[1])


def _config(
    layout: Layout, image: Manifest, types: tuple[str, ...] = (CONFIG_TYPE,)
) -> json_document.JsonObject:
    where = f"{layout.where}: config of {image.descriptor.digest[:16]}"
    if image.config.media_type not in types:
        raise LayoutError(f"{where}.mediaType", repr(image.config.media_type)[:90], CONFIG_TYPE)
    if image.config.size > MAX_DOCUMENT:
        raise LayoutError(where, f"{image.config.size} bytes", f"at most {MAX_DOCUMENT} bytes")
    return json_document.read(layout.blob(image.config), where)


def _unpacked(
    layout: Layout, image: Manifest, limit: int, kinds: Mapping[str, _Unpack] | None = None
) -> Iterator[Iterator[bytes]]:
    types = (CONFIG_TYPE,) if kinds is None else (CONFIG_TYPE, DOCKER_CONFIG_TYPE)
    with reading():
        rootfs = _config(layout, image, types).part("rootfs")
        wanted = rootfs.texts("diff_ids")
    if len(wanted) != len(image.layers) or len(wanted) > MAX_LAYERS:
        want = f"{len(image.layers)} as in the manifest, at most {MAX_LAYERS}"
        raise LayoutError(f"{rootfs.where}.diff_ids", f"{len(wanted)} layers", want, _SOURCE)
    left = [limit]
    for layer, diff_id in zip(image.layers, wanted, strict=True):
        unpack = _kind(layer, _where(layout, layer), _COMPRESSIONS if kinds is None else kinds)
        yield _checked(unpack, layout.blob(layer), diff_id, _where(layout, layer), left)


def _where(layout: Layout, layer: Descriptor) -> str:
    return f"{layout.where}: layer {layer.digest[:16]}"


def _kind(layer: Descriptor, where: str, kinds: Mapping[str, _Unpack]) -> _Unpack:
    if layer.media_type not in kinds:
        raise LayoutError(f"{where}.mediaType", repr(layer.media_type)[:90], " or ".join(kinds))
    return kinds[layer.media_type]


def _checked(unpack: _Unpack, data: bytes, diff_id: str, where: str, left: list[int]) -> Iterator[bytes]:
    """Yield the pieces of a layer; what is left over of the limit is in `left`."""
    digest = hashlib.sha256()
    for piece in unpack(data, where, LayoutError):
        left[0] -= len(piece)
        if left[0] < 0:
            raise LayoutError(where, "more bytes than the limit allows, unpacked", "an image that fits")
        digest.update(piece)
        yield piece
    if f"sha256:{digest.hexdigest()}" != diff_id:
        want = f"{diff_id[:90]}, as the configuration says"
        raise LayoutError(f"{where}: unpacked", f"sha256:{digest.hexdigest()}", want, _SOURCE)


def _plain(data: bytes, where: str, error: type[FoundWantError]) -> Iterator[bytes]:
    del where, error
    yield data


def _by_first_bytes(data: bytes, where: str, error: type[FoundWantError]) -> Iterator[bytes]:
    if data.startswith(_GZIP):
        return gunzip(data, where, error, padded=True)
    return unzstd(data, where, error) if data.startswith(_ZSTD) else _plain(data, where, error)


_COMPRESSIONS: Mapping[str, _Unpack] = MappingProxyType(
    {_LAYER: _plain, f"{_LAYER}+gzip": gunzip, f"{_LAYER}+zstd": unzstd}
)
_FOREIGN: Mapping[str, _Unpack] = MappingProxyType(
    {f"{kind}{how}": _by_first_bytes for kind, hows in _FOREIGN_TYPES.items() for how in hows}
)
