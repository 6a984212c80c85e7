"""
Which directories does a string name that a program looks for plugins in, and which shared objects are there?

Interpreters, PAM and the like put the name of a plugin together while they run; what they start from is a
directory that stands in their data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shim.elf.files import FileSource
from shim.elf.search import DEFAULT_DIRECTORIES
from shim.elf.strings import strings_with

# A search path of directories, or patterns that begin with one.
_SEARCH_PATH = re.compile(rb"[^\0:;]{0,8}[:;]?/(?:usr|opt|lib|lib64)/[\x21-\x7e]{3,1000}")
_ROOTS = (b"/usr/", b"/opt/", b"/lib/", b"/lib64/")
_BELOW = ("/usr/lib/", "/usr/lib64/", "/usr/libexec/", "/usr/local/lib/", "/lib/", "/lib64/", "/opt/")
_VARIABLE = re.compile(r"[?%*$@{]")
_PLUGIN = re.compile(r".+\.so(?:\.[0-9]+)*")
# A name without a suffix, or with a version for one.
_FOLDER = re.compile(r"[^.]+(?:[.-]?[0-9][^/]*)?")
# A plugin lies at most so deep below the directory that a program names, and few directories lie above it:
# more is a tree of data.
_DEEPEST = 5
_MOST_DIRECTORIES = 1000


def search_paths(data: bytes) -> Iterator[str]:
    """Yield the strings in `data` that name directories which could hold plugins, each as it stands there."""
    texts = dict.fromkeys(text for root in _ROOTS for text in strings_with(data, root))
    return (text.decode("ascii") for text in texts if text.isascii() and _SEARCH_PATH.fullmatch(text))


def plugins(text: str, files: FileSource) -> Iterator[str]:
    """
    Yield the paths of what is named like a shared object below the directories of the search path `text`.

    The loader's own directories are left out: nobody opens everything there.
    """
    libraries = {files.canonical(directory) for directory in DEFAULT_DIRECTORIES}
    for part in re.split("[:;]", text):
        directory = _directory(part)
        if directory and files.canonical(directory) not in libraries:
            yield from _below(directory, files, libraries)


def _directory(part: str) -> str:
    """Return the directory that a part of a search path names, "" where it is none that holds plugins."""
    variable = _VARIABLE.search(part)
    if variable is not None:
        part = part[: variable.start()].rpartition("/")[0]
    directory = part.rstrip("/")
    return directory if directory.startswith(_BELOW) else ""


def _below(directory: str, files: FileSource, libraries: set[str]) -> Iterator[str]:
    pending = [(directory, 0)]
    for count, (folder, depth) in enumerate(pending):
        if count == _MOST_DIRECTORIES:
            return
        for name in files.listing(folder):
            path = f"{folder}/{name}"
            if _PLUGIN.fullmatch(name):
                yield path
            elif depth < _DEEPEST and _FOLDER.fullmatch(name) and files.canonical(path) not in libraries:
                pending.append((path, depth + 1))
