"""
The files of an image that was verified, in a directory of their own.

It takes what `shim build` makes: directories, files and links.  Anything else that layers can hold is
refused, and nothing is written through a link.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.layout.errors import LayoutError, LayoutOutputError

MAX_ENTRIES, MAX_PATH = 1_000_000, 4095  # include/uapi/linux/limits.h, v6.12: PATH_MAX with its NUL
_WHITEOUT, _END = ".wh.", bytes(1024)
_SOURCE = 'OCI image-spec 1.1, layer.md, "File Types"'


def file_in(archives: Sequence[bytes], name: str, where: str) -> bytes | None:
    """
    Return the file of a name such as "etc/hosts" in the highest layer that has it, or None.

    Raises:
        LayoutError: a layer is no tar archive.
    """
    for archive in reversed(archives):
        with _opened(archive, where) as members:
            for member in members:
                if member.isreg() and _name(member, where) == name:
                    file = members.extractfile(member)
                    return None if file is None else file.read()
    return None


def entries(archives: Sequence[bytes], where: str) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """
    Yield the entries of all layers, the lowest first: name without a slash before it, what it is, contents.

    The root itself is left out, and so is what a file of another layer replaces.

    Raises:
        LayoutError: a name that leads out of the image, or something else than a directory, a file or a link.
    """
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for archive in archives:
        with _opened(archive, where) as members:
            for member in members:
                name = _name(member, where)
                if not (member.isdir() or member.isreg() or member.issym()):
                    kind = f"an entry of type {member.type!r}"
                    raise LayoutError(
                        f"{where}: {member.name!r}", kind, "a directory, a file or a link", _SOURCE
                    )
                file = members.extractfile(member) if member.isreg() else None
                if name:
                    found[name] = (member, b"" if file is None else file.read())
    for name, (member, data) in found.items():
        yield name, member, data


def unpack(archives: Sequence[bytes], directory: Path, where: str) -> None:
    """
    Write the files of an image below an empty directory that nobody else writes to.

    Owners and times are not kept, set-user-ID bits neither.

    Raises:
        LayoutError: a name that leads out of the image or over a link, one file twice, or something else than
            a directory, a file or a symbolic link.
        LayoutOutputError: it cannot be written.

    Source:
        OCI image-spec 1.1, layer.md.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        count = 0
        for archive in archives:
            with _opened(archive, where) as members:
                for member in members:
                    count += 1
                    if count > MAX_ENTRIES:
                        raise LayoutError(where, f"more than {MAX_ENTRIES} entries", "fewer")
                    _write(root, members, member, where)
    finally:
        os.close(root)


def _write(root: int, members: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> None:
    *above, name = _name(member, where).split("/")
    if not name:  # the root itself
        return
    with _folder(root, above, where) as folder:
        mode = member.mode & 0o777
        try:
            if member.isdir():
                _make_directory(name, mode, folder)
            elif member.issym():
                os.symlink(member.linkname, name, dir_fd=folder)
            elif member.isreg():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
                    source = members.extractfile(member)
                    file.write(b"" if source is None else source.read())
                    os.fchmod(file.fileno(), mode)
            else:
                found = f"an entry of type {member.type!r}"
                raise LayoutError(
                    f"{where}: {member.name!r}", found, "a directory, a file or a link", _SOURCE
                )
        except FileExistsError as error:
            raise LayoutError(f"{where}: {member.name!r}", "a second entry", "each name once") from error
        except OSError as error:
            raise LayoutOutputError(
                f"{where}: {member.name!r}", str(error.strerror), "room to unpack"
            ) from error


def _make_directory(name: str, mode: int, folder: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        os.close(descriptor)
    os.chmod(name, mode | 0o700, dir_fd=folder, follow_symlinks=True)


@contextmanager
def _folder(root: int, names: Sequence[str], where: str) -> Iterator[int]:
    """Give the directory that an entry goes to, each part of the way a directory and no link."""
    descriptor = os.dup(root)
    try:
        for name in names:
            try:
                below = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor
                )
            except OSError as error:
                found = f"{'/'.join(names)!r}: {error.strerror} at {name!r}"
                raise LayoutError(where, found, "directories before what is in them", _SOURCE) from error
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _name(member: tarfile.TarInfo, where: str) -> str:
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if len(member.name) > MAX_PATH or member.name.startswith("/") or ".." in parts:
        raise LayoutError(
            f"{where}: {member.name[:90]!r}", "a name that leads out of the image", "one inside it"
        )
    if parts and parts[-1].startswith(_WHITEOUT):
        raise LayoutError(f"{where}: {member.name!r}", "a whiteout", "an image of shim build, with one layer")
    return "/".join(parts)


@contextmanager
def _opened(archive: bytes, where: str) -> Iterator[tarfile.TarFile]:
    if len(archive) % 512 or not archive.endswith(
        _END
    ):  # tarfile takes an archive that is cut off for a shorter one
        raise LayoutError(where, "an archive without an end", "a layer", _SOURCE)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
            yield members
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise LayoutError(where, f"no tar archive ({error})", "a layer", _SOURCE) from error
