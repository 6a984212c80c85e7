"""What `shim build` is made from: the program, the files around it, the time, as the user names them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import absolute_path
from shim.cli.files import UnreadableFileError, find_program, read_program

if TYPE_CHECKING:
    from images.closure import Inclusion
    from images.source import Source

# Programs keep their place there; from elsewhere their name is all that an image has to know.
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/")
_SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where files come from.

    Attributes:
        source: The files.
        running: Whether they are those of the running system.
        label: Tells this source from others, for the cache of analyses.
        digest: Of the image they are, "" for a directory.
        root: The directory that is `/`, "" for an image.
    """

    source: Source
    running: bool
    label: str
    digest: str
    root: str


@dataclass(frozen=True, slots=True)
class Program:
    """The bytes of the program, and its absolute path in the image."""

    data: bytes
    place: str


def origin_of(root: str, image: str | None) -> Origin:
    """
    Return where files come from, as --root and --from say.

    Raises:
        UsageError: both, or a kind of image that is not known.
        SourceError: an image that is damaged or hostile.
    """
    from images.oci_source import open_layout
    from images.source import DirectorySource

    if image is None:
        place = os.path.realpath(root)
        if not os.path.isdir(place):  # noqa: PTH112  # as everything around it
            raise UnreadableFileError(root, "no directory", "the directory that will be /", 127)
        return Origin(DirectorySource(place), place == "/", place, "", place)
    kind, colon, directory = image.partition(":")
    if root != "/":
        raise click.UsageError("--root and --from name two sources, want one")
    if not colon or kind != "oci" or not directory:
        raise click.BadParameter(f"found {image!r}, want oci:DIR", param_hint="--from")
    layers = open_layout(directory)
    digest = layers.name.rpartition(":")[2]
    return Origin(layers, running=False, label=f"/{layers.name}", digest=digest, root="")


def program_of(name: str, origin: Origin, place: str | None) -> Program:
    """
    Return the program that a user means.

    Args:
        name: A path, or a name that is searched for as a shell does.
        origin: Where it comes from.
        place: Where it shall be in the image; None for the default.

    Raises:
        UnreadableFileError: it is not there, or nobody may execute it.
        BadParameter: a place that is no absolute path.
    """
    if place is not None and (not place.startswith("/") or posixpath.normpath(place) != place):
        raise click.BadParameter(f"found {place!r}, want an absolute path without dots", param_hint="--as")
    if origin.running:
        path = absolute_path(find_program(name, os.environ.get("PATH", os.defpath)))
        data = read_program(path)
        executable = os.stat(path).st_mode & 0o111  # noqa: PTH116  # as everything around it
    else:
        path, data, executable = _inside(name, origin)
    if not executable:
        raise UnreadableFileError(path, "a file that nobody may execute", "a program", 126)
    return Program(data, place or _place(path, data, running=origin.running))


def _inside(name: str, origin: Origin) -> tuple[str, bytes, int]:
    if "/" not in name:
        places = [f"{directory}/{name}" for directory in _SEARCHED]
    elif origin.root and absolute_path(name).startswith(origin.root + "/"):
        places = [absolute_path(name)[len(origin.root) :]]
    else:
        places = [posixpath.normpath("/" + name).replace("//", "/")]
    for path in places:
        data = origin.source.read(path)
        node = origin.source.node(origin.source.canonical(path))
        if data is not None and node is not None:
            return path, data, node.mode & 0o111
    raise UnreadableFileError(name, f"no such program in the source ({', '.join(places)})", "a program", 127)


def _place(path: str, data: bytes, *, running: bool) -> str:
    """Return where a program is put: its own place where that means something, else below the root."""
    if not running or path.startswith(_SYSTEM) or os.path.islink(path):  # noqa: PTH114  # likewise
        return path
    if b"$ORIGIN" in data or b"${ORIGIN}" in data:
        return path
    return "/" + posixpath.basename(path)


_MADE_BY_KERNEL = ("/proc/", "/sys/")


def inclusion(text: str, *, running: bool) -> Inclusion:
    """
    Return what --include PATH[:TARGET] says.

    Raises:
        BadParameter: a target that is not absolute, or a relative path without one in another root.
    """
    from images.closure import Inclusion

    path, separator, target = text.rpartition(":/")
    if separator:
        target = posixpath.normpath("/" + target)
        target = "/" + target.lstrip("/")
        if not path:
            raise _no_inclusion(text)
        return Inclusion(_lasting(absolute_path(path), text), target, text)
    if not text:
        raise _no_inclusion(text)
    if not text.startswith("/") and not running:
        want = "an absolute path in the source, or PATH:/TARGET for one of this machine"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="--include")
    return Inclusion(_lasting(absolute_path(text), text) if running else absolute_path(text), "", text)


def _lasting(path: str, text: str) -> str:
    """
    Return a path of this machine, unless the kernel makes what is there while it is read.

    Raises:
        BadParameter: it does, and some of it has no end.
    """
    real = posixpath.realpath(path) + "/"
    if real.startswith(_MADE_BY_KERNEL):
        raise click.BadParameter(
            f"found {text!r}, which the kernel makes while it is read, want files that stay",
            param_hint="--include",
        )
    return path


def _no_inclusion(text: str) -> click.BadParameter:
    return click.BadParameter(f"found {text!r}, want PATH or PATH:/TARGET", param_hint="--include")


def directories(paths: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return the absolute paths that --directory names.

    Raises:
        BadParameter: one of them is not absolute.
    """
    for path in paths:
        if not path.startswith("/") or posixpath.normpath(path) in ("/", "//"):
            raise click.BadParameter(
                f"found {path!r}, want an absolute path below /", param_hint="--directory"
            )
    return tuple("/" + posixpath.normpath(path).lstrip("/") for path in paths)


def creation_time(environment: Mapping[str, str]) -> int:
    """
    Return the time of an image in seconds since 1970: SOURCE_DATE_EPOCH, else a fixed one.

    Raises:
        BadParameter: it is no number, or more than formats hold.

    Source:
        reproducible-builds.org, "SOURCE_DATE_EPOCH specification", version 1.1.
    """
    from images.image import DEFAULT_TIME, MAX_TIME

    text = environment.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return DEFAULT_TIME
    if not (text.isascii() and text.isdigit()) or int(text[:12]) > MAX_TIME or len(text) > 12:
        want = f"seconds since 1970, at most {MAX_TIME}"
        raise click.BadParameter(f"found {text!r}, want {want}", param_hint="SOURCE_DATE_EPOCH")
    return int(text)
