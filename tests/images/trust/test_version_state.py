"""What was accepted once keeps what is older from coming back."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images.trust import version_state
from images.trust.errors import VersionStateError


def test_no_file_remembers_nothing(tmp_path: Path) -> None:
    assert version_state.read_file(tmp_path / "state") == {}


def test_versions_only_grow(tmp_path: Path) -> None:
    state = tmp_path / "state"
    version_state.remember(state, {"app": 3, "other": 1})
    version_state.remember(state, {"app": 3})
    version_state.remember(state, {"app": 5})
    assert version_state.read_file(state) == {"app": 5, "other": 1}
    with pytest.raises(
        VersionStateError, match="app: found 4, want at least 5, which was accepted meanwhile"
    ):
        version_state.remember(state, {"app": 4, "other": 9})
    assert version_state.read_file(state) == {"app": 5, "other": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["state"]


def raise_to(state: Path, version: int) -> None:
    try:
        version_state.remember(state, {"app": version, f"app-{version}": version})
    except VersionStateError:
        raise SystemExit(3) from None


def test_several_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    running = [
        context.Process(target=raise_to, args=(tmp_path / "state", version)) for version in range(1, 9)
    ]
    for one in running:
        one.start()
    for one in running:
        one.join()
    done = [version for version, one in enumerate(running, start=1) if one.exitcode == 0]
    assert version_state.read_file(tmp_path / "state") == {"app": 8, **{f"app-{one}": one for one in done}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"schema":2,"highest":{}}',
        b'{"schema":1,"highest":[]}',
        b'{"schema":1,"highest":{"app":"3"}}',
        b'{"schema":1,"highest":{"app":-3}}',
        b'{"schema":1,"highest":{"app":3,"app":1}}',
        b'{"schema":1,"highest":{"app":9007199254740992}}',
        b" " * ((1 << 20) + 1),
    ],
    ids=range(10),
)
def test_a_file_that_is_none_is_no_leave_to_forget(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(data)
    for use in (version_state.read_file, lambda path: version_state.remember(path, {"app": 1})):
        with pytest.raises(VersionStateError):
            use(tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == data


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere" / "state", tmp_path):
        with pytest.raises(VersionStateError):
            version_state.remember(place, {"app": 1})


@given(st.dictionaries(st.text(max_size=5), st.integers(0, (1 << 53) - 1)))
def test_what_is_written_is_read(versions: dict[str, int]) -> None:
    assert version_state.parse(version_state.write(versions), "state") == versions


@given(st.binary(max_size=60))
def test_any_bytes_are_a_state_or_an_error(data: bytes) -> None:
    with pytest.raises(VersionStateError):
        version_state.parse(data, "state")
