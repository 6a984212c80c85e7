"""What long work tells whoever waits for it."""

from __future__ import annotations


def in_silence(_stage: str) -> None:
    """Tell nobody which stage begins."""
