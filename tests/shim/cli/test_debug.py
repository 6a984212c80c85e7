"""What a program does is seen from outside: its call with what arguments mean, its filters, files and namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.launch.live import Live, NoProcessError, look
from shim.syscalls import table

NAMES = table("x86_64").names
PROC = Path("/proc")
SOURCE = r"""
import os, socket, sys, threading
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
threading.Thread(target=server.accept, daemon=True).start()
print("ready", flush=True)
os.open(sys.argv[1], os.O_RDONLY)
"""


def shim(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from shim.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "debug", *arguments], capture_output=True, text=True, check=False, timeout=30
    )  # fmt: skip


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A program with two threads, one of which waits for a pipe that nobody opens."""
    pipe = tmp_path / "a pipe\tof mine"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-c", SOURCE, str(pipe)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until(lambda: sum(thread.call is not None for thread in look(PROC, process.pid, NAMES).threads) == 2)
        try:
            yield process, pipe
        finally:
            process.kill()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def calls(found: Live) -> dict[str, dict[int, str]]:
    return {
        NAMES[thread.call.number]: dict(thread.call.decoded)
        for thread in found.threads
        if thread.call is not None
    }


def test_each_thread_and_what_it_waits_for(waiting: tuple[subprocess.Popen[str], Path]) -> None:
    process, pipe = waiting
    found = look(PROC, process.pid, NAMES)
    seen = calls(found)
    assert seen["openat"] == {0: "AT_FDCWD", 1: f'"{str(pipe)[:-8]}\\x09of mine"'}
    assert "accept4" in seen
    assert found.users == (os.getuid(),) * 4
    assert any(target.startswith("socket:") for target in found.files.values())
    assert found.memory["Rss"] > 1000
    assert found.separate == ()
    assert Path(found.program) == Path(sys.executable).resolve()


def test_the_command_says_it_in_words(waiting: tuple[subprocess.Popen[str], Path]) -> None:
    process, pipe = waiting
    done = shim(str(process.pid))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"process {process.pid}: " in done.stdout
    assert 'openat(AT_FDCWD, "' in done.stdout
    assert "\t" not in done.stdout
    assert "0 filters, may gain privileges" in done.stdout
    assert pipe.name not in done.stdout


def test_the_command_says_it_in_json(waiting: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = waiting
    found = json.loads(shim(str(process.pid), "--format", "json").stdout)
    names = {thread["call"]["name"] for thread in found["threads"]}
    assert {"openat", "accept4"} <= names
    assert found["pid"] == process.pid


def test_a_tool_runs_beside_it_and_not_inside(waiting: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = waiting
    done = shim(str(process.pid), "--", "cat", "/proc/self/comm")
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs root")
    assert (done.returncode, done.stdout) == (0, "cat\n")
    assert shim(str(process.pid), "--", "sh", "-c", "exit 7").returncode == 7


def test_no_such_process() -> None:
    with pytest.raises(NoProcessError, match="there is none"):
        look(PROC, 2**22 + 1, NAMES)
    done = shim("4194305")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "shim: process 4194305: there is none, or it has ended\n"


@pytest.mark.parametrize("pid", ["0", "-1", "x"])
def test_what_is_no_process(pid: str) -> None:
    assert shim("--", pid).returncode == 2


def test_a_process_that_may_not_be_looked_at(tmp_path: Path) -> None:
    own = tmp_path / "7"
    own.mkdir()
    (own / "status").write_text("Uid:\t1\t1\t1\t1\n")
    (own / "exe").symlink_to("/bin/x")
    (own / "cmdline").mkdir()  # reading it fails, but not as if it were gone
    with pytest.raises(IsADirectoryError):
        look(tmp_path, 7, NAMES)


def test_kernel_that_says_nothing_of_filters(tmp_path: Path) -> None:
    own = tmp_path / "7"
    for name in ("task/7", "fd", "ns"):
        (own / name).mkdir(parents=True)
    status = "Name:\tp\nState:\tR (running)\nUid:\t1\t1\t1\t1\n"
    (own / "status").write_text(status)
    (own / "task/7/status").write_text(status)
    (own / "task/7/syscall").write_text("running\n")
    (own / "exe").symlink_to("/bin/x (deleted)")
    (own / "cmdline").write_bytes(b"p\0\x1b[2J\0")
    (own / "smaps_rollup").write_text("Rss:   4 kB\n")
    (own / "cgroup").write_text("0::/a\n")
    found = look(tmp_path, 7, NAMES)
    assert (found.threads[0].filters, found.threads[0].call, found.cgroup) == (None, None, "/a")
    assert found.arguments == ("p", "\\x1b[2J")
