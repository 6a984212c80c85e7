"""
What does code name that is there, and not in the image?

Nothing is taken for its name alone: the user decides.  Of libraries only directories of data count: they name
many files, for purposes that few of their users have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from images.data_rules import C_LIBRARIES
from images.source import Found, Node, Source
from images.tree import Entry
from shim.elf.search import DEFAULT_DIRECTORIES
from shim.profile.footprint import Footprint

# What is made while a machine runs is no part of an image.
_NEVER = ("/proc/", "/dev/", "/sys/", "/run/", "/var/log/", "/var/run/")
# Compilers leave the names of what they compiled.
_SOURCES = (".go", ".s", ".c", ".h", ".rs")
# Where packages put what their programs read, those that everybody uses aside.
_DATA = ("/usr/share/", "/usr/lib/", "/usr/local/", "/opt/")
_SETTINGS = "/etc/"
# Go writes down where its own sources were.
_GO = re.compile("/usr/(lib|local|share)/go(-[0-9.]+)?")
_SHARED = ("/usr/share/locale", "/usr/share/man", "/usr/share/info", "/usr/share/doc")
_READABLE, _OPEN = 0o004, 0o005


def suggestions(
    footprint: Footprint, source: Source, entries: Sequence[Entry], declined: Sequence[str]
) -> list[str]:
    """
    Return a line for each file that the program names, and each directory of data that it or a library does.

    Args:
        footprint: What the code names.
        source: Where the files come from.
        entries: What is in the image.
        declined: Paths that are left out for a reason, with what is below.
    """
    own = footprint.origins[0].object
    present = _with_parents(entries)
    found: dict[str, str] = {}
    for named in footprint.paths:
        place = source.canonical(named.path)
        if _is_left_out(named.path, declined) or _is_left_out(place, declined):
            continue
        node = source.node(place)
        if node is None or place.encode(errors="surrogateescape") in present:
            continue
        if node.kind is Found.FILE and named.object == own and not named.path.endswith(_SOURCES):
            found.setdefault(named.path, "the program names it")
        elif _is_data(place, node, named.object, own) and _is_for_all(place, source):
            who = "the program" if named.object == own else named.object
            found.setdefault(place, f"{who} names it, and nothing of it is in the image")
    return [f"{path}: {why}; --include {path} if it needs it" for path, why in found.items()]


def _with_parents(entries: Iterable[Entry]) -> set[bytes]:
    found = set()
    for entry in entries:
        path = entry.path
        while path and path not in found:
            found.add(path)
            path = path.rpartition(b"/")[0]
    return found


def _is_left_out(path: str, declined: Iterable[str]) -> bool:
    return path.startswith(_NEVER) or any(path == one or path.startswith(f"{one}/") for one in declined)


def _is_data(place: str, node: Node, by: str, own: str) -> bool:
    """Whether it is a directory in which packages keep what their programs read."""
    if node.kind is not Found.DIRECTORY or node.mode & _OPEN != _OPEN:
        return False
    if place in (*_SHARED, *DEFAULT_DIRECTORIES) or _GO.fullmatch(place):
        return False
    if place.startswith(_SETTINGS):
        return by == own
    return place.startswith(_DATA) and not by.rpartition("/")[2].startswith((*C_LIBRARIES, "ld-linux"))


def _is_for_all(directory: str, source: Source) -> bool:
    """Whether a directory holds something, and nothing that is kept from anybody, such as keys."""
    nodes = [source.node(f"{directory}/{name}") for name in source.names(directory)]
    return bool(nodes) and all(node is not None and node.mode & _READABLE for node in nodes)
