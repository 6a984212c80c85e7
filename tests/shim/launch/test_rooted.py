"""A root directory of its own: what is executed there, how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.errors import LaunchError, ShimError
from shim.launch.rooted import run_rooted

pytestmark = pytest.mark.usefixtures("namespaces")
ROOT = Path(__file__).resolve().parents[3]
SOURCE = """
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
extern char **environ;
int main(int c, char **v) {
    struct stat s;
    if (!strcmp(v[1], "exit")) return atoi(v[2]);
    if (!strcmp(v[1], "signal")) { raise(atoi(v[2])); return 0; }
    if (!strcmp(v[1], "sees")) return stat(v[2], &s) == 0;
    if (!strcmp(v[1], "environment")) return environ[0] != 0;
    if (!strcmp(v[1], "user"))
        return getuid() != atoi(v[2]) || getgid() != atoi(v[3]) || (getuid() && getgroups(0, 0) > 0);
    if (!strcmp(v[1], "pipe")) return signal(SIGPIPE, SIG_DFL) == SIG_IGN;
    if (!strcmp(v[1], "directory")) return open(".", O_RDONLY) < 0 || chdir("..") || stat("program", &s);
    pause();
    return 9;
}
"""


@pytest.fixture(scope="session")
def program(compile_c: Callable[..., bytes]) -> bytes:
    return compile_c(SOURCE, "-static", compiler="musl-gcc")


def filled(program: bytes, *, mode: int = 0o755) -> Callable[[Path], None]:
    def fill(root: Path) -> None:
        (root / "program").write_bytes(program)
        (root / "program").chmod(mode)
        (root / "proc").mkdir()

    return fill


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("exit", "0"), 0),
        (("exit", "7"), 7),
        (("exit", "255"), 255),
        (("signal", "15"), 143),
        (("signal", "9"), 137),
        (("sees", "/program"), 1),
        (("sees", "/etc"), 0),
        (("sees", "/root"), 0),
        (("sees", "/proc/self/exe"), 1),
        (("environment",), 0),
        (("pipe",), 0),
        (("directory",), 0),
    ],
)
def test_what_is_executed_and_how_it_ends(program: bytes, arguments: tuple[str, ...], code: int) -> None:
    assert run_rooted(filled(program), ("/program", *arguments)) == code


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another")
def test_another_user(program: bytes) -> None:
    def fill(root: Path) -> None:
        filled(program)(root)
        root.chmod(0o755)

    assert run_rooted(fill, ("/program", "user", "1000", "1001"), (1000, 1001)) == 0
    assert run_rooted(fill, ("/program", "user", "0", "0"), (0, 0)) == 0
    assert run_rooted(fill, ("/program", "user", "0", "0"), (1000, 1001)) == 1


def test_nothing_of_it_stays(program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = Path("/proc/self/mountinfo").read_text()
    run_rooted(filled(program), ("/program", "exit", "0"))
    assert list(tmp_path.iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == before


def test_what_fails_says_where(program: bytes) -> None:
    def refuse(_: Path) -> None:
        raise ShimError("no such image")

    def overflow(root: Path) -> None:
        (root / "file" / "below").write_bytes(b"")

    rows = [
        (refuse, "/program", "unpack", 125, "no such image"),
        (overflow, "/program", "unpack", 125, "No such file or directory"),
        (filled(program), "/nowhere", "/nowhere", 127, "No such file or directory"),
        (filled(program, mode=0o644), "/program", "/program", 126, "Permission denied"),
        (filled(b"x"), "/program", "/program", 126, "Exec format error"),
    ]
    for fill, path, step, code, reason in rows:
        with pytest.raises(LaunchError) as caught:
            run_rooted(fill, (path, "exit", "0"))
        assert (caught.value.step, caught.value.exit_code, caught.value.reason) == (step, code, reason)


def test_it_dies_with_who_started_it(program: bytes, tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(program)
    with started_in(tmp_path) as started:
        child = wait_for(lambda: child_of(started.pid, "program"))
        started.kill()
    wait_for(lambda: not alive(child))


def started_in(place: Path) -> subprocess.Popen[bytes]:
    """Start another process that runs the program, which waits, and ends with its exit code."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom shim.launch.rooted import run_rooted\n"
        "def fill(root):\n"
        "    (root / 'program').write_bytes(Path(sys.argv[1]).read_bytes())\n"
        "    (root / 'program').chmod(0o755)\n"
        "sys.exit(run_rooted(fill, ('/program', 'pause')))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", script, str(place / "program")], env=environment)


def test_signals_reach_it(program: bytes, tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(program)
    with started_in(tmp_path) as started:
        wait_for(lambda: child_of(started.pid, "program"))
        started.terminate()
        assert started.wait(10) == 143


def child_of(pid: int, name: str) -> int:
    for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{one}/comm").read_text().strip() == name:
            return int(one)
    return 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(found: Callable[[], int]) -> int:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.01)
    pytest.fail("waited 10 s")
