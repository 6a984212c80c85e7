"""
From the layers of an image to the files that a process in it sees, in memory.

Layers come from strangers.  Nothing is written anywhere, so there is nothing to escape to; what no honest
layer holds is refused all the same, and so is what would grow without end.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

from images.content import Content
from images.errors import SourceError
from images.source import Found, Node
from images.tree import MAX_PATH
from shim.elf.files import without_links

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
# Of all layers together, unpacked.
MAX_BYTES, MAX_ENTRIES = 4 << 30, 2_000_000


@dataclass(frozen=True, slots=True)
class _Placed:
    node: Node
    content: Content | None = None


class Layers:
    """
    The files of an image; a `Source`.

    Args:
        name: What the manifest calls it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._places: dict[str, _Placed] = {"/": _Placed(Node(Found.DIRECTORY, 0o755))}
        self._below: dict[str, set[str]] = {"/": set()}

    def apply(self, layer: bytes, where: str) -> None:
        """
        Put a layer, an unpacked tar archive, over those before.

        Raises:
            SourceError: it is damaged, leads out of the image, or is too large.

        Source:
            OCI image-spec 1.1, layer.md, "Applying Changesets" and "Whiteouts".
        """
        new: set[str] = set()
        try:
            with tarfile.open(fileobj=io.BytesIO(layer), mode="r:") as archive:
                for member in archive:
                    self._member(archive, member, where, new)
        except (tarfile.TarError, ValueError, EOFError, OverflowError, OSError, RecursionError) as error:
            raise SourceError(where, f"no tar archive ({error})", "a layer") from error

    def read(self, path: str) -> bytes | None:
        """Return what the regular file at `path` holds, links followed; None where there is none."""
        placed = self._places.get(self.canonical(path))
        return None if placed is None or placed.content is None else placed.content.read()

    def canonical(self, path: str) -> str:
        """Return `path` without links and dots; raises SourceError for links without an end."""
        return without_links(path, self._link, SourceError)

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted."""
        return tuple(sorted(self._below.get(self.canonical(path), ())))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory at a path whose parents are no links, sorted."""
        return tuple(sorted(self._below.get(path, ())))

    def node(self, path: str) -> Node | None:
        """Return what stands at a path whose parents are no links."""
        placed = self._places.get(path)
        return None if placed is None else placed.node

    def content(self, path: str) -> Content:
        """Return what the file at such a path holds."""
        placed = self._places.get(path)
        if placed is None or placed.content is None:
            raise SourceError(path, "no regular file", "one")
        return placed.content

    def _link(self, path: str) -> str | None:
        placed = self._places.get(path)
        return placed.node.target if placed is not None and placed.node.kind is Found.SYMLINK else None

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, where: str, new: set[str]) -> None:
        place = self._place(member.name, where)
        if place == "/":
            return
        directory, _, name = place.rpartition("/")
        directory = directory or "/"
        if name == OPAQUE:
            for below in sorted(self._below.get(directory, ())):
                self._remove(f"{directory.rstrip('/')}/{below}", new)
            return
        if name.startswith(WHITEOUT):
            self._remove(f"{directory.rstrip('/')}/{name[len(WHITEOUT) :]}", new)
            return
        if len(self._places) >= MAX_ENTRIES:
            raise SourceError(where, f"more than {MAX_ENTRIES} entries", "an image of fewer")
        self._put(place, self._placed(archive, member, where), new)

    def _place(self, name: str, where: str) -> str:
        """Return where a member goes, links above it followed inside the image."""
        if len(name) > MAX_PATH:
            raise SourceError(
                f"{where}: {name[:80]!r}", f"a path of {len(name)} characters", f"{MAX_PATH} at most"
            )
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise SourceError(f"{where}: {name!r}", "a path that leads out of the image", "one inside it")
        if not parts:
            return "/"
        directory = self.canonical("/" + "/".join(parts[:-1]))
        return f"{directory.rstrip('/')}/{parts[-1]}"

    def _placed(self, archive: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> _Placed:
        mode = member.mode & 0o7777
        if member.size < 0 or len(member.linkname) > MAX_PATH:
            found = f"{member.size} bytes and a link of {len(member.linkname)} characters"
            raise SourceError(f"{where}: {member.name!r}", found, "sizes that can be")
        if member.isdir():
            return _Placed(Node(Found.DIRECTORY, mode))
        if member.issym():
            return _Placed(Node(Found.SYMLINK, 0o777, member.linkname))
        if member.islnk():
            target = self._places.get(self._place(member.linkname, where))
            if target is None or target.content is None:
                found = f"a hard link to {member.linkname!r}, which is no file before it"
                raise SourceError(f"{where}: {member.name!r}", found, "a link to a file of the image")
            return target
        if not member.isfile():
            return _Placed(Node(Found.OTHER, mode))
        if member.sparse is not None:
            raise SourceError(f"{where}: {member.name!r}", "a sparse file", "a file with all its bytes")
        # Its bytes are part of the archive, which has been counted.
        file = archive.extractfile(member)
        data = b"" if file is None else file.read()
        if len(data) != member.size:
            raise SourceError(
                f"{where}: {member.name!r}", f"{len(data)} bytes", f"{member.size}, as its header says"
            )
        return _Placed(Node(Found.FILE, mode), Content.of(data))

    def _put(self, place: str, placed: _Placed, new: set[str]) -> None:
        known = self._places.get(place)
        both = known is not None and Found.DIRECTORY is known.node.kind is placed.node.kind
        if known is not None and not both:
            self._remove(place, set())
        directory, _, name = place.rpartition("/")
        directory = directory or "/"
        above = self._places.get(directory)
        if above is None or above.node.kind is not Found.DIRECTORY:
            self._put(directory, _Placed(Node(Found.DIRECTORY, 0o755)), new)
        self._below.setdefault(directory, set()).add(name)
        self._places[place] = placed
        new.add(place)
        if placed.node.kind is Found.DIRECTORY:
            self._below.setdefault(place, set())

    def _remove(self, place: str, new: set[str]) -> None:
        """Remove what lower layers have at a place, and all below; what is `new` in this layer stays."""
        for below in sorted(self._below.get(place, ())):
            self._remove(f"{place.rstrip('/')}/{below}", new)
        if place in new or self._below.get(place) or place not in self._places:
            return
        del self._places[place]
        self._below.pop(place, None)
        directory, _, name = place.rpartition("/")
        self._below[directory or "/"].discard(name)
