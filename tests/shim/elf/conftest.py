"""A folder to build programs and libraries in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.shim.elf.loader_truth import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    # The loader names files by the path it was given: keep it free of symbolic links.
    return Workshop(Path(os.path.realpath(tmp_path)))
