"""A manifest is read back as it was written, and nothing else is one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from images.errors import ManifestError
from images.manifest import dumps, loads
from tests.images.test_formats import image

TEXT = dumps(image().manifest)
_GROUPS = json.loads(TEXT)["files"]
PROGRAM = next(
    f"files.{number}" for number, one in enumerate(_GROUPS) if "program" in one["folders"].get("/bin", {})
)
LINK = next(f"files.{number}" for number, one in enumerate(_GROUPS) if one["kind"] == "symlink")


def test_reading_gives_back_what_was_written() -> None:
    assert loads(TEXT, "it") == image().manifest


def changed(change: str, value: object) -> bytes:
    text: Any = json.loads(TEXT)
    place = text
    *above, last = change.split(".")
    for name in above:
        place = place[int(name) if name.isdigit() else name]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(text, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("schema", 1),
        ("schema", 3),
        ("schema", True),
        ("packages", {}),
        ("packages", [{"name": 7}]),
        ("packages", [{"colour": "x"}]),
        ("phases", {}),
        ("phases.0.syscalls", {"no_such_call": []}),
        ("phases.1.syscalls", {"socket": [[["x", "eq", "0x1"]]]}),
        ("phases.1.syscalls", {"socket": [[[0, "like", "0x1"]]]}),
        ("phases.1.syscalls", {"socket": [[[0, "eq", 1]]]}),
        ("arch", "vax"),
        ("given", KeyError),
        ("schema", KeyError),
        ("files", {}),
        ("files", None),
        ("files.0.kind", "device"),
        ("files.0.reason", 999),
        ("files.0.reason", "x"),
        ("files.0.folders", KeyError),
        ("files.0.folders", []),
        ("files.0.extra", 1),
        ("files.0.mode", "rw"),
        (f"{PROGRAM}.folders./bin.program", [1]),
        (f"{PROGRAM}.folders./bin.program", [1, ""]),
        (f"{PROGRAM}.folders./bin.program", [1, "A" * 42 + "B"]),
        (f"{PROGRAM}.folders./bin.program", [1, "00" * 32]),
        (f"{PROGRAM}.folders./bin.program", [-1, "A" * 43]),
        (f"{PROGRAM}.folders./bin.program", [1, 2]),
        (f"{PROGRAM}.folders./bin.program", "target"),
        (f"{PROGRAM}.folders./bin.program", None),
        (f"{PROGRAM}.folders./bin.a/b", [1, "A" * 43]),
        (f"{PROGRAM}.folders./bin/", {"x": [1, "A" * 43]}),
        (f"{PROGRAM}.packages", [999]),
        (f"{PROGRAM}.kind", "symlink"),
        (f"{LINK}.folders", {"/etc": {"link": None}}),
        (f"{LINK}.mode", "0777"),
        ("inputs", 7),
        ("reasons.0.rule", KeyError),
        ("created", "now"),
        ("extra", 1),
        ("plan", KeyError),
    ],
)
def test_what_is_no_manifest(change: str, value: object) -> None:
    with pytest.raises(ManifestError):
        loads(changed(change, value), "it")


@pytest.mark.parametrize("text", [TEXT + b"\n", b" " + TEXT, TEXT.replace(b'"schema":2', b'"schema": 2')])
def test_one_manifest_has_one_spelling(text: bytes) -> None:
    with pytest.raises(ManifestError, match="another spelling"):
        loads(text, "it")


@given(st.integers(0, len(TEXT) - 1))
def test_a_manifest_that_is_cut_off(end: int) -> None:
    with pytest.raises(ManifestError):
        loads(TEXT[:end], "it")


def test_one_of_a_newer_version_says_so() -> None:
    with pytest.raises(ManifestError, match="schema: found 3, want at most 2: a newer tee-shim wrote it"):
        loads(changed("schema", 3), "it")


def test_packages_are_those_of_files_and_of_what_is_built_in() -> None:
    found = loads(TEXT, "it")
    assert [str(one) for one in found.packages] == ["program 1-2", "example.com/x 1.0"]
    (program,) = [item for item in found.items if item.path == "/bin/program"]
    assert ([one.name for one in program.packages], program.altered) == (["program"], True)


def test_the_command_can_be_typed_again() -> None:
    assert loads(TEXT, "it").command == ("--env", "A=1", "--", "bin/program", "x")
