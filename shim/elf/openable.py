"""
Which shared objects might a program open while it runs?

Names of shared objects among its strings, the name services that its machine is set up for, and what lies
in the directories of plugins that it and its libraries name.  That a string is there says nothing yet: the
analysis asks which code names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shim.elf.files import FileSource
from shim.elf.loaded import Closure, LoadedObject
from shim.elf.plugin_directories import plugins, search_paths

NSSWITCH = "/etc/nsswitch.conf"
_OBJECT_NAME = re.compile(rb"(?<=\0)[A-Za-z0-9_+./-]{1,200}\.so(?:\.[0-9]+)*(?=\0)")
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


def openable(closure: Closure, files: FileSource, started: int) -> tuple[Openable, ...]:
    """
    Return what the objects of `closure` might open, each name and string once, in a stable order.

    The first `started` of them are there anyhow.

    Not checked:
        Names that the program computes otherwise; that what is named exists.

    Source:
        nsswitch.conf(5); glibc 2.36, nss/nss_module.c, module_load_nss.
    """
    known = {name for loaded in closure.objects[:started] for name in (*loaded.names, loaded.soname)}
    found: dict[tuple[str, str], None] = {}
    for loaded in closure.objects:
        data = _constant_data(loaded)
        for text in _strings(_OBJECT_NAME, data):
            if text not in known and not text.startswith("linux-"):
                found[text, text] = None
        if NSSWITCH.encode() + b"\0" in data:
            for service in _services(files):
                found[f"libnss_{service}.so.2", NSSWITCH] = None
    listed = {
        (name, text): None
        for loaded in closure.objects
        if closure.interpreter is not None and not _is_libc(loaded)
        for text in search_paths(_constant_data(loaded))
        for name in plugins(text, files)
    }
    return tuple(
        Openable(name, string, computed)
        for pairs, computed in ((found, False), (listed, True))
        for name, string in sorted(pairs)
    )


def _is_libc(loaded: LoadedObject) -> bool:
    """Whether this is the C library: its own directories hold character sets, which call nothing."""
    return loaded.soname.startswith(("libc.so.", "libc.musl-", "ld-"))


def _strings(pattern: re.Pattern[bytes], data: bytes) -> Iterator[str]:
    return (match[0].decode("ascii") for match in pattern.finditer(data))


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
