"""
Which shared objects might a program open while it runs?

Names of shared objects among its strings, the name services that its machine is set up for, and what lies
in the directories of plugins that it and its libraries name.  That a string is there says nothing yet: the
analysis asks which code names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shim.elf.files import FileSource
from shim.elf.loaded import Closure, LoadedObject
from shim.elf.plugin_directories import plugins, search_paths
from shim.elf.strings import strings_with

NSSWITCH = "/etc/nsswitch.conf"
_OBJECT_NAME = re.compile(rb"[A-Za-z0-9_+./-]{1,200}\.so(?:\.[0-9]+)*")
_SERVICE = re.compile(r"[a-z0-9_]+")
# Built into glibc since 2.34 (NEWS, "nss_files"), and dns likewise; compat is rewritten to files.
_BUILT_IN = frozenset({"files", "dns"})


@dataclass(frozen=True, slots=True)
class Openable:
    """
    A shared object that might be opened: the name to load it by, and the string that leads to it.

    `computed` says that the string is only a directory above it: code puts the name together.
    """

    name: str
    string: str
    computed: bool = False


@dataclass(frozen=True, slots=True)
class _Named:
    """What the strings of one object name: objects, name services, search paths of plugins."""

    objects: tuple[str, ...]
    services: bool
    search_paths: tuple[str, ...]


class Openables:
    """
    Finds what the objects of a process might open.

    Args:
        files: Where plugins and the set-up of name services are looked for.
        started: How many objects are there anyhow, the first ones.
    """

    def __init__(self, files: FileSource, started: int) -> None:
        self._files = files
        self._started = started
        self._named: dict[str, _Named] = {}
        self._plugins: dict[str, tuple[str, ...]] = {}

    def of(self, closure: Closure) -> tuple[Openable, ...]:
        """
        Return what the objects of `closure` might open, each name and string once, in a stable order.

        Not checked:
            Names that the program computes otherwise; that what is named exists.

        Source:
            nsswitch.conf(5); glibc 2.36, nss/nss_module.c, module_load_nss.
        """
        started = closure.objects[: self._started]
        known = {name for loaded in started for name in (*loaded.names, loaded.soname)}
        found: dict[tuple[str, str], None] = {}
        listed: dict[tuple[str, str], None] = {}
        for loaded in closure.objects:
            named = self._names(loaded)
            found.update(((text, text), None) for text in named.objects if text not in known)
            if named.services:
                services = _services(self._files)
                found.update(((f"libnss_{service}.so.2", NSSWITCH), None) for service in services)
            if closure.interpreter is not None and not _is_libc(loaded):
                for text in named.search_paths:
                    listed.update(((name, text), None) for name in self._below(text))
        return tuple(
            Openable(name, string, computed)
            for pairs, computed in ((found, False), (listed, True))
            for name, string in sorted(pairs)
        )

    def _names(self, loaded: LoadedObject) -> _Named:
        named = self._named.get(loaded.path)
        if named is None:
            data = _constant_data(loaded)
            named = self._named[loaded.path] = _Named(
                tuple(
                    text.decode("ascii")
                    for text in strings_with(data, b".so")
                    if _OBJECT_NAME.fullmatch(text) and not text.startswith(b"linux-")
                ),
                NSSWITCH.encode() + b"\0" in data,
                tuple(search_paths(data)),
            )
        return named

    def _below(self, text: str) -> tuple[str, ...]:
        if text not in self._plugins:
            self._plugins[text] = tuple(plugins(text, self._files))
        return self._plugins[text]


def _is_libc(loaded: LoadedObject) -> bool:
    """Whether this is the C library: its own directories hold character sets, which call nothing."""
    return loaded.soname.startswith(("libc.so.", "libc.musl-", "ld-"))


def _constant_data(loaded: LoadedObject) -> bytes:
    """Return the bytes of the read-only data of an object without the names of its symbols and libraries."""
    image, tags = loaded.image, loaded.dynamic.tags
    data = bytearray()
    for segment in image.segments:
        if segment.executable or segment.writable:
            continue
        part = bytearray(image.data[segment.offset : segment.offset + segment.file_size])
        names = tags.get("DT_STRTAB", 0) - segment.address
        if 0 <= names < len(part):
            end = names + tags.get("DT_STRSZ", 0)
            part[names:end] = bytes(len(part[names:end]))
        data += b"\0" + part
    return bytes(data)


def _services(files: FileSource) -> list[str]:
    """Return the name services that are loaded as modules."""
    text = (files.read(NSSWITCH) or b"").decode("utf-8", "replace")
    services: dict[str, None] = {}
    for line in text.splitlines():
        _, _, value = line.partition("#")[0].partition(":")
        plain = re.sub(r"\[[^\]]*\]", " ", value)
        services.update(dict.fromkeys(word for word in plain.split() if _SERVICE.fullmatch(word)))
    return sorted(set(services) - _BUILT_IN)
