"""Facts of this machine: each a value or a reason, and none of the questions leaves a trace."""

from __future__ import annotations

import errno
import platform
from pathlib import Path

import pytest

from shim.launch.probe import Facts, Unknown, _answer, probe


def test_facts_of_this_kernel() -> None:
    facts = probe()
    assert facts.kernel == platform.release()
    assert isinstance(facts.seccomp_actions, tuple)
    assert {"kill_process", "errno", "allow"} <= set(facts.seccomp_actions)
    assert ("user_notif" in facts.seccomp_actions) == (facts.user_notification == 1)
    assert all(
        isinstance(value, int | str | tuple | Unknown)
        for value in (getattr(facts, n) for n in Facts.__slots__)
    )


def children() -> set[str]:
    """Return this process's children, zombies among them: other tests of this worker may have left theirs."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


def test_asking_leaves_no_trace() -> None:
    def traces() -> tuple[int, list[str], set[str]]:
        lines = Path("/proc/self/status").read_text().splitlines()
        files = len(list(Path("/proc/self/fd").iterdir()))
        return files, [line for line in lines if line.startswith(("Seccomp", "NoNewPrivs"))], children()

    before = traces()
    for _ in range(20):
        probe()
    assert traces() == before


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    facts = probe(tmp_path)
    assert isinstance(facts.seccomp_actions, Unknown)
    assert str(tmp_path) in facts.seccomp_actions.reason
    assert facts.ptrace_scope == 0


def test_yama_is_read(tmp_path: Path) -> None:
    (tmp_path / "yama").mkdir()
    (tmp_path / "yama" / "ptrace_scope").write_text("2\n")
    assert probe(tmp_path).ptrace_scope == 2
    (tmp_path / "yama" / "ptrace_scope").write_text("much\n")
    assert isinstance(probe(tmp_path).ptrace_scope, Unknown)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSYS, "this kernel does not have it"),
        (errno.EINVAL, "this kernel does not know it"),
        (errno.EPERM, "forbidden here: a container's filter, Yama, or missing rights"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_reasons(code: int, words: str) -> None:
    assert _answer(-code) == Unknown(words)


@pytest.mark.parametrize("value", [0, 1, 7])
def test_values(value: int) -> None:
    assert _answer(value) == value
