"""
Which files did a derivation look at, and are they still the same?
"""

from __future__ import annotations

import json

from shim.canonical import sha256_hex
from shim.elf.files import FileSource


class WatchedFiles:
    """
    A file source that remembers what it was asked for, and what it answered.

    Args:
        files: Where the answers come from.
    """

    def __init__(self, files: FileSource) -> None:
        self._files = files
        self._read: dict[str, bytes | None] = {}
        self._seen: dict[tuple[str, str], str] = {}

    def read(self, path: str) -> bytes | None:
        """Return the bytes of the file at `path`, or None; the second time from memory."""
        if path not in self._read:
            self._read[path] = self._files.read(path)
            self._seen["read", path] = _digest(self._read[path])
        return self._read[path]

    def canonical(self, path: str) -> str:
        """Return the name of the same file without symbolic links."""
        answer = self._files.canonical(path)
        self._seen["canonical", path] = answer
        return answer

    def listing(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        answer = self._files.listing(path)
        self._seen["listing", path] = sha256_hex("\0".join(answer).encode(errors="surrogateescape"))
        return answer

    def seen(self) -> bytes:
        """Return all questions with the digests of their answers, as one line of JSON."""
        return json.dumps([[*question, answer] for question, answer in sorted(self._seen.items())]).encode()


def unchanged(seen: bytes, files: FileSource) -> bool:
    """Whether `files` answers all questions of `seen` as before; anything that is no such line is a no."""
    try:
        rows = json.loads(seen)
        again = WatchedFiles(files)
        for question, path, _ in rows:
            {"read": again.read, "canonical": again.canonical, "listing": again.listing}[question](path)
    except (ValueError, TypeError, KeyError):
        return False
    return bool(json.loads(again.seen()) == rows)


def _digest(data: bytes | None) -> str:
    return "" if data is None else sha256_hex(data)
