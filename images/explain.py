"""Why is a file in an image, and why is another not?"""

from __future__ import annotations

from collections.abc import Iterator

from images.closure import FileSet
from images.source import Found, Source
from images.tree import Entry, Kind, Tree
from shim.profile.footprint import Footprint

_MEANS = {
    "program": "is the program",
    "interpreter": "is the loader that the kernel starts for it",
    "needed": "is needed by it",
    "preloaded": "is preloaded",
    "opened": "can be opened by it",
    "listed": "lies where it looks for plugins",
    "declared": "was declared",
    "include": "was asked for",
    "directory": "is a directory above it",
    "link": "is a link on the way to it",
    "shim": "is the shim's own",
    "loader": "tells it where libraries are",
}


def explain(tree: Tree, path: str) -> tuple[str, ...]:
    """
    Return the chain that brings `path` into a tree, from its end to the file, one link a line.

    Empty if nothing is there.
    """
    raw = path.encode(errors="surrogateescape")
    entry = tree.get(raw) or tree.find(raw)
    return tuple(reversed(list(_links(tree, entry)))) if entry is not None else ()


def _links(tree: Tree, entry: Entry) -> Iterator[str]:
    seen: set[bytes] = set()
    current: Entry | None = entry
    while current is not None and current.path not in seen:
        seen.add(current.path)
        reason = current.reason
        means = _MEANS.get(reason.rule, f"is used by it ({reason.rule})")
        detail = f": {reason.detail}" if reason.detail else ""
        leads = f" -> {current.target.decode()}" if current.kind is Kind.SYMLINK else ""
        yield f"{current.name}{leads} {means}{detail}"
        current = tree.find(reason.by.encode()) if reason.by else None


def why_not(tree: Tree, files: FileSet, footprint: Footprint, source: Source, path: str) -> tuple[str, ...]:
    """Return why `path` is not in an image, in lines; what leads to it if it is."""
    present = explain(tree, path)
    if present:
        return (f"{path} is in the image:", *present)
    place = source.canonical(path)
    node = source.node(place)
    if node is None:
        return (f"{path} is not in the image: it is not in the source either",)
    return (f"{path} is not in the image:", *_reasons(files, footprint, source, path, node.kind))


def _reasons(files: FileSet, footprint: Footprint, source: Source, path: str, kind: Found) -> tuple[str, ...]:
    place = source.canonical(path)
    names = {path, place}
    if any(_within(name, left) for name in names for left in files.left_out):
        return ("--exclude leaves it out",)
    found = [one.why for one in files.data.declined if any(_within(name, one.path) for name in names)]
    if any(source.canonical(idle) == place for idle in footprint.idle):
        found.append("it can be loaded, but no code that can run leads to it")
    for named in footprint.paths:
        if source.canonical(named.path) == place:
            by = f"{named.function} in {named.object}" if named.function else named.object
            found.append(f"{by} names it, which alone takes no file: --include {path}")
    if kind is Found.OTHER:
        found.append("it is a device, a socket or a pipe, which no image holds")
    return tuple(found) or ("no code that can run names it, and no object needs it: --include takes it",)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
