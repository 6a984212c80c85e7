"""Programs of others that tests ask for a second opinion; skipped with a reason where they are not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def ask(*command: object, place: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Return how a command ended, and what it said."""
    name = str(command[0])
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([str(part) for part in command], cwd=place, capture_output=True, check=False)


def told(*command: object, place: Path | None = None) -> bytes:
    """Return what a command printed, which has to succeed."""
    done = ask(*command, place=place)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
