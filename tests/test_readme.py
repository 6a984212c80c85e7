"""The commands in the documents work, and print what stands there; `...` stands for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import guest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SESSION = re.compile(r"```console\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def sessions() -> list[tuple[str, str]]:
    return [(path.name, block) for path in DOCUMENTS for block in SESSION.findall(path.read_text())]


def steps(session: str) -> list[tuple[str, str]]:
    parts = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in parts]


def matches(want: str, found: str) -> bool:
    pattern = "".join(".*?" if piece == "..." else re.escape(piece) for piece in re.split(r"(\.\.\.)", want))
    return re.fullmatch(pattern, found, flags=re.DOTALL) is not None


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert matches("a ... c\n", "a b\nb c\n")
    assert not matches("a ... c\n", "a b d\n")
    assert not matches("a.c\n", "abc\n")


@pytest.mark.parametrize(("document", "session"), sessions())
def test_session(document: str, session: str, tmp_path: Path) -> None:
    for tool in ("busybox", "musl-gcc"):
        if tool in session and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    kernel = str(guest.kernel()) if "$KERNEL" in session else ""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "shim"
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from shim.cli.main import main; main()' \"$@\"\n"
    )
    command.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "EXAMPLES": str(ROOT / "docs" / "examples"),
        "KERNEL": kernel,
    }
    for line, want in steps(session):
        if "shim run -- " in line and any(
            Path(p).exists() for p in ("/dev/sev-guest", "/dev/tdx_guest", "/dev/nsm")
        ):
            continue
        # One pipe for both streams: what a person sees, in the order of the writes.
        done = subprocess.run(
            ["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment,
            check=False, timeout=120,
        )  # fmt: skip
        if "sub_47b6f0" in want and "sub_47b6f0" not in done.stdout:
            assert done.stdout.splitlines()[0] == want.splitlines()[0]  # another build of busybox
            continue
        if want.strip() == "167":
            assert 120 < int(done.stdout) < 220
            continue
        assert matches(want, done.stdout), f"{document}: $ {line}\n{done.stdout}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)):
        assert (document.parent / target).exists(), target
