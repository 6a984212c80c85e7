"""What somebody else's tool says of two images: nothing of the same one, and where others differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
Compile = Callable[..., bytes]
Compared = tuple[int, str]


@pytest.fixture
def compare(compile_c: Compile, tmp_path: Path) -> Callable[..., Compared]:
    """Return what diffoscope says of an initramfs without and with other options: its exit code, its report."""
    diffoscope = shutil.which("diffoscope")
    if diffoscope is None:
        pytest.skip("diffoscope is not installed (apt install diffoscope-minimal)")
    program = tmp_path / "hello"
    program.write_bytes(compile_c("int main(void) { return 0; }", "-static", compiler="musl-gcc"))
    program.chmod(0o755)

    def run(*options: str) -> Compared:
        for name, more in (("one", ()), ("other", options)):
            words = ["build", "--format", "initramfs", "--compress", "none", "-o", name, *more, "./hello"]
            subprocess.run(
                [sys.executable, "-c", "from shim.cli.main import main; main()", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1700000000"},
                cwd=tmp_path, capture_output=True, check=True,
            )  # fmt: skip
        done = subprocess.run(
            [diffoscope, "--text", "-", "one", "other"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def test_the_same_build_has_no_difference(compare: Callable[..., Compared]) -> None:
    assert compare() == (0, "")


def test_another_variable_is_named(compare: Callable[..., Compared]) -> None:
    code, report = compare("--env", "GREETING=hello")
    assert code == 1
    assert any(line.startswith("│ │ +") and '"GREETING=hello"' in line for line in report.splitlines()), (
        report
    )
    assert "shim/plan" in report


def test_another_file_is_named(compare: Callable[..., Compared]) -> None:
    code, report = compare("--include", "./hello:/more")
    assert code == 1
    assert any(line.startswith("│ +") and line.endswith(" more") for line in report.splitlines())
