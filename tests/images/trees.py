"""Entries for tests: short to write, each with a reason."""

from __future__ import annotations

from images.content import Content
from images.tree import Entry, Reason

WHY = Reason("include", "", "a test")


def file(path: str, data: bytes = b"data", mode: int = 0o644) -> Entry:
    return Entry.file(path.encode(), Content.of(data), WHY, mode=mode)


def link(path: str, target: str) -> Entry:
    return Entry.symlink(path.encode(), target.encode(), WHY)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry.directory(path.encode(), WHY, mode=mode)
