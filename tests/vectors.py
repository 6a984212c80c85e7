"""
The real evidence in ../shared/vectors, read where it stands and never copied.

`cases(kind)` gives the manifest's cases as pytest parameters; where the folder is absent there is one
parameter that is skipped and says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1].parent / "shared" / "vectors"
MANIFEST = ROOT / "MANIFEST.json"
ABSENT = f"real evidence is absent: no {MANIFEST}"


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its files by role, the time to judge at, and what must come out."""

    id: str
    kind: str
    expected: str
    time: datetime | None
    files: Mapping[str, Path]

    def read(self, role: str) -> bytes:
        return self.files[role].read_bytes()


def load(*kinds: str) -> list[Case]:
    """Return the cases of these kinds; none where the evidence is absent."""
    if not MANIFEST.is_file():
        return []
    manifest = json.loads(MANIFEST.read_text())
    return [_case(entry) for entry in manifest["cases"] if entry["kind"] in kinds]


def cases(*kinds: str, role: str = "") -> list[object]:
    """Return the cases of these kinds, which have a file of `role`, for `pytest.mark.parametrize`."""
    found = [case for case in load(*kinds) if not role or role in case.files]
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")]
    return [pytest.param(case, id=case.id) for case in found]


def _case(entry: Mapping[str, object]) -> Case:
    files, time = entry["files"], entry["evaluation_time"]
    assert isinstance(files, dict)
    return Case(
        id=str(entry["id"]),
        kind=str(entry["kind"]),
        expected=str(entry["expected"]),
        time=None if time is None else datetime.fromisoformat(str(time)).astimezone(UTC),
        files={role: ROOT / path for role, path in files.items()},
    )
