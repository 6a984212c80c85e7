"""The decoder and the exploration under sanitizers: code of every kind in memory of exactly its size."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

READERS = ("decode-sanitized", "explore-sanitized")
INPUTS = (
    b"",
    b"\x90",
    b"\x66" * 20,
    b"\x0f",
    b"\x62\xf1\x7c",
    b"\xcc",
    b"\x75\x00" * 4096,
    b"\xe8\0\0\0\0" * 9,
    bytes(5000),
)


@pytest.mark.parametrize("reader", READERS)
def test_known_code_under_sanitizers(reader: str, native_build: Callable[[str], Path]) -> None:
    command = [native_build("sanitize") / reader]
    for data in INPUTS:
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), data[:16]


@pytest.mark.parametrize("reader", READERS)
def test_generated_code_under_sanitizers(reader: str, native_build: Callable[[str], Path]) -> None:
    command = [str(native_build("sanitize") / reader), "--generate", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.split()[0]) > 500
