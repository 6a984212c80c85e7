"""
What is in an image that is at hand: each file, the reason its manifest gives for it, and whose it is.

What lies in the layers is what counts; where the manifest inside says something else, that is a fact, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from images.errors import ManifestError
from images.file_table import Item
from images.layers import Layers
from images.manifest import Manifest, loads
from images.packages.errors import PackageError
from images.packages.inventory import inventory, shim_package
from images.packages.package import ImageFile
from images.source import Found, Node
from images.tree import Reason

MANIFEST, PLAN = "/shim/manifest.json", "/shim/plan"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """
    One entry of an image.

    Attributes:
        path: From the image's root.
        kind: "file", "directory", "symlink", or what images of shim build do not have.
        mode: Permissions.
        size: Bytes of a file, 0 for others.
        sha256: Of a file, 64 hexadecimal digits, "" for others.
        target: Of a link, "" for others.
        reason: What the manifest gives for it; None where it does not name it.
        differs: What the manifest says that is not so, one line each.
        packages: Name and version of each package that it belongs to or that is built into it.
    """

    path: str
    kind: str
    mode: int
    size: int
    sha256: str
    target: str
    reason: Reason | None
    differs: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """
    All that is in an image.

    Attributes:
        files: By path.
        manifest: The manifest inside; None if there is none that can be read.
        problems: What is wrong with manifest and records, one line each.
        release: Of which distribution its records are, "" if it has none.
    """

    files: tuple[FileFacts, ...]
    manifest: Manifest | None
    problems: tuple[str, ...]
    release: str

    def find(self, path: str) -> FileFacts | None:
        """Return what stands at a path, links not followed."""
        return next((one for one in self.files if one.path == path), None)


def anatomy(layers: Layers) -> Anatomy:
    """
    Return what is in an image.

    Args:
        layers: Its layers, applied.

    Not checked:
        Who made it. Whose a file is, is said by records inside the image.
    """
    problems: list[str] = []
    manifest = _manifest(layers, problems)
    items = {} if manifest is None else {item.path: item for item in manifest.items}
    paths = list(_paths(layers, "/"))
    owners, release = _owners(layers, paths, problems)
    if manifest is not None and _is_file(layers, PLAN):
        problems += _other_plan(layers, manifest)
    files = tuple(_facts(layers, path, items.get(path), owners.get(path, ())) for path in sorted(paths))
    there = set(paths)
    problems += [f"{path}: the manifest names it, and it is not there" for path in items if path not in there]
    return Anatomy(files, manifest, tuple(problems), release)


def _manifest(layers: Layers, problems: list[str]) -> Manifest | None:
    data = layers.read(MANIFEST)
    if data is None:
        problems.append(f"{MANIFEST}: there is none: nothing says why files are there")
        return None
    try:
        return loads(data, MANIFEST)
    except ManifestError as error:
        problems.append(str(error))
        return None


def _other_plan(layers: Layers, manifest: Manifest) -> Iterator[str]:
    found = layers.content(PLAN).sha256
    if found != manifest.plan:
        yield f"{PLAN}: sha256 {found}, by the manifest {manifest.plan}"


def _paths(layers: Layers, directory: str) -> Iterator[str]:
    """Yield all paths below a directory, each directory before what is in it."""
    pending = [directory]
    while pending:
        above = pending.pop()
        for name in layers.names(above):
            path = f"{above.rstrip('/')}/{name}"
            yield path
            node = layers.node(path)
            if node is not None and node.kind is Found.DIRECTORY:
                pending.append(path)


def _owners(layers: Layers, paths: list[str], problems: list[str]) -> tuple[dict[str, tuple[str, ...]], str]:
    try:
        found = inventory(
            (_file(layers, path) for path in paths if _is_file(layers, path)), layers, shim_package("")
        )
    except PackageError as error:
        problems.append(str(error))
        return {}, ""
    named = {
        owned.file.path: tuple(f"{one.name} {one.version}" for one in (*owned.owners, *owned.built_in))
        for owned in found.files
    }
    problems += [f"{one.file.path}: not what its package installed" for one in found.files if one.altered]
    release = found.distribution
    return named, "" if release is None else f"{release.identifier} {release.release}".strip()


def _is_file(layers: Layers, path: str) -> bool:
    node = layers.node(path)
    return node is not None and node.kind is Found.FILE


def _file(layers: Layers, path: str) -> ImageFile:
    content, node = layers.content(path), layers.node(path)
    return ImageFile(path, path, content.sha256, content.size, 0 if node is None else node.mode, content.read)


def _facts(layers: Layers, path: str, item: Item | None, packages: tuple[str, ...]) -> FileFacts:
    node = layers.node(path) or Node(Found.OTHER, 0)
    content = layers.content(path) if node.kind is Found.FILE else None
    found = FileFacts(
        path,
        str(node.kind),
        node.mode,
        0 if content is None else content.size,
        "" if content is None else content.sha256,
        node.target,
        None if item is None else item.reason,
        (),
        packages,
    )
    return found if item is None else replace(found, differs=tuple(_differences(found, item)))


def _differences(found: FileFacts, item: Item) -> Iterator[str]:
    if found.kind != item.kind:
        yield f"a {found.kind}, by the manifest a {item.kind}"
        return
    if found.mode != item.mode:
        yield f"mode {found.mode:04o}, by the manifest {item.mode:04o}"
    if found.target != item.target:
        yield f"leads to {found.target!r}, by the manifest to {item.target!r}"
    if found.sha256 != item.sha256:
        yield f"sha256 {found.sha256}, by the manifest {item.sha256}"
