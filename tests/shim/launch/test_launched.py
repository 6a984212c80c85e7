"""Who launched a process, read from trees like /proc: whatever stands in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shim.launch.launched import Event, launcher_of
from shim.syscalls import table

NAMES = table("x86_64").names
LINE = {
    "event": "violation", "time_ns": 1_700_000_000_500_000_000, "pid": 9, "syscall": 110, "arch": 1, "stage": 0,
    "address": "0x10", "arguments": ["0x1"] * 6,
}  # fmt: skip


def process(proc: Path, pid: int, parent: int, *arguments: str, files: dict[int, str] | None = None) -> Path:
    own = proc / str(pid)
    (own / "task" / str(pid)).mkdir(parents=True)
    (own / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    (own / "cmdline").write_bytes(b"".join(one.encode() + b"\0" for one in arguments))
    (own / "task" / str(pid) / "children").write_text("")
    if files is not None:
        (own / "fd").mkdir()
        for number, target in files.items():
            (own / "fd" / str(number)).symlink_to(target)
    return own


def encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("shown", ["name", "listener", "itself"])
def test_the_nearest_ancestor_that_is_a_launcher(tmp_path: Path, shown: str) -> None:
    record = tmp_path / "record"
    record.write_bytes(b"here\n" + encoded(LINE) + b'{"event":"violation","cut')
    files = {
        2: str(record),
        3: str(record),
        **({5: "anon_inode:seccomp notify"} if shown == "listener" else {}),
    }
    name = "python" if shown == "listener" else "/shim/launch"
    own = process(tmp_path, 7, 1, name, "/shim/plan", files=files)
    (own / "task/7/children").write_text("8 ")
    process(tmp_path, 1, 0, "init", files={})
    process(tmp_path, 8, 7, "program", files={})
    process(tmp_path, 9, 8, "child", files={})
    found = launcher_of(tmp_path, 7 if shown == "itself" else 9, NAMES)
    assert found is not None
    assert (found.pid, found.arguments, found.programs) == (7, (name, "/shim/plan"), (8,))
    assert found.reports == (str(record),)
    assert found.events == (Event("2023-11-14T22:13:20+00:00", 9, "getppid", ("0x1",) * 6, "0x10"),)


def test_nobody_launched_it(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, "init", files={})
    process(tmp_path, 9, 1, "launch", files={2: "/dev/null"})
    assert launcher_of(tmp_path, 9, NAMES) is None
    assert launcher_of(tmp_path, 10, NAMES) is None


def test_a_circle_has_an_end(tmp_path: Path) -> None:
    process(tmp_path, 2, 3, "a", files={})
    process(tmp_path, 3, 2, "b", files={})
    assert launcher_of(tmp_path, 2, NAMES) is None


def test_a_launcher_whose_files_may_not_be_seen(tmp_path: Path) -> None:
    process(tmp_path, 7, 1, "/usr/bin/shim-launch", "plan")
    found = launcher_of(tmp_path, 7, NAMES)
    assert found is not None
    assert (found.reports, found.events) == (None, ())


def test_only_the_last_events_of_a_long_record(tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.write_bytes(b"".join(encoded(LINE | {"syscall": number}) for number in range(5000)))
    process(tmp_path, 7, 1, "/shim/launch", files={2: str(record)})
    found = launcher_of(tmp_path, 7, NAMES)
    assert found is not None
    assert [event.call for event in found.events] == [str(number) for number in range(4990, 5000)]


def test_a_pipe_is_left_alone(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process(tmp_path, 7, 1, "/shim/launch", files={2: str(pipe)})
    found = launcher_of(tmp_path, 7, NAMES)  # would wait for ever
    assert found is not None
    assert found.events == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*LINE, "number", "time"]), json_values | st.sampled_from(["\x1b", "0x1"])
    )
)
def test_whatever_stands_in_a_record(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, object]
) -> None:
    place = tmp_path_factory.mktemp("proc")
    (place / "record").write_bytes(
        encoded(LINE | changed | {"event": "violation"}) + b'[{"event":"violation"}]\n'
    )
    process(place, 7, 1, "/shim/launch", files={2: str(place / "record")})
    found = launcher_of(place, 7, NAMES)
    assert found is not None
    for event in found.events:
        assert "\x1b" not in "".join((event.time, event.call, event.address, *event.arguments))
