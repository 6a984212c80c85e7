"""Probes compiled once per run, and the launcher's two faces."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native.launching import LAUNCHER, ROOT, Face, faces

FREESTANDING = {"call_at_once", "start_state"}


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile a probe by name as a static program, once."""
    folder = tmp_path_factory.mktemp("probes")

    def compiled(name: str) -> Path:
        program = folder / name
        if not program.exists():
            extra = ["-nostdlib"] if name in FREESTANDING else []
            source = ROOT / "tests" / "probes" / f"{name}.c"
            command = ["musl-gcc", "-static", "-O1", "-s", *extra, str(source), "-o", str(program)]
            subprocess.run(command, check=True)
        return program

    return compiled


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a target of native/Makefile in a folder of its own, and return that folder."""
    folder = tmp_path_factory.mktemp("native")

    def built(target: str) -> Path:
        command = ["make", "-s", "-C", str(ROOT / "native"), f"BUILD={folder}", target]
        subprocess.run(command, check=True, capture_output=True)
        return folder

    return built


@pytest.fixture(scope="session")
def guest_build(native_build: Callable[[str], Path]) -> Callable[[str], Path]:
    """The same for what needs libsodium; tests are skipped without it."""
    found = subprocess.run(
        ["gcc", "-print-file-name=libsodium.a"], capture_output=True, text=True, check=True
    )
    if not Path(found.stdout.strip()).exists():
        pytest.skip("no libsodium.a (apt install libsodium-dev)")
    return native_build


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="shim-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=["shim-launch", "cffi"])
def face(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Face]:
    """Each face of the launcher in turn."""
    if not LAUNCHER.exists():
        pytest.fail(f"{LAUNCHER} is not built: run `make build`")
    subject = faces(tmp_path)[request.param]
    yield subject
    subject.end()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Face]:
    """The static binary, where one face is enough."""
    if not LAUNCHER.exists():
        pytest.fail(f"{LAUNCHER} is not built: run `make build`")
    subject = faces(tmp_path)["shim-launch"]
    yield subject
    subject.end()
