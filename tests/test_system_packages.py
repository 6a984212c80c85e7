"""Each package that a target of the Makefile installs is one of which it can be told whether it is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_LISTS = re.compile(r"^[A-Z]+_PACKAGES := ((?:.*\\\n)*.*)$", re.MULTILINE)
_CHECKS = re.compile(r"^\t([a-z0-9| +.-]+)\) ", re.MULTILINE)
PACKAGES = sorted(
    {
        word
        for found in _LISTS.findall((ROOT / "Makefile").read_text())
        for word in found.replace("\\\n", " ").split()
    }
)


def test_the_makefile_has_lists() -> None:
    assert {"gcc", "skopeo", "mmdebstrap"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_its_check(package: str) -> None:
    script = (ROOT / "native" / "system-packages.sh").read_text()
    assert package in {word for line in _CHECKS.findall(script) for word in line.split(" | ")}
