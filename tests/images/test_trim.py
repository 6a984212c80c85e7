"""Code that nothing reaches leaves an image: exactly that, only where all code is known, and on record."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from images.content import Content
from images.errors import ImageSpecError
from images.tree import Entry, Reason
from images.trim import TRAP, Trimming
from shim.errors import IncompleteProfileError, ProfileError
from shim.profile.execute_path import ExecutePath, ObjectFunctions
from shim.profile.footprint import Footprint, Mapped, Unreachable, dumps, loads
from shim.profile.profile import AnalysedObject, Phase, Profile, UnresolvedSite
from tests.images.trees import file

CODE = b"\x7fELF" + bytes(range(4, 100))
DIGEST = hashlib.sha256(CODE).hexdigest()
PLACES = ((10, 5), (40, 60))


def mapped(path: str = "/p", data: bytes = CODE, rule: Mapped = Mapped.PROGRAM) -> Entry:
    return Entry.file(path.encode(), Content.of(data), Reason(rule), mode=0o755)


def profile(**changes: object) -> Profile:
    objects = (AnalysedObject("/p", DIGEST, ""),)
    made = Profile(
        arch="x86_64", objects=objects, phases=(Phase("startup", None, ()),), unresolved=(), foreign_abi=(),
        assumptions=(), tool_version="0",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def footprint(*unreachable: Unreachable) -> Footprint:
    return Footprint((), (), (), (), False, (), unreachable)


def trimmed(*entries: Entry, places: tuple[tuple[int, int], ...] = PLACES) -> Trimming:
    return Trimming(entries, footprint(Unreachable("/p", DIGEST, places)), profile())


def test_exactly_the_places_are_traps() -> None:
    made = trimmed(mapped(), file("/data"))
    [program, data] = made.entries
    found = program.data()
    assert len(found) == len(CODE)
    gone = {at for offset, size in PLACES for at in range(offset, offset + size)}
    for at, (old, new) in enumerate(zip(CODE, found, strict=True)):
        assert new == (TRAP[0] if at in gone else old), at
    assert data.data() == b"data"
    assert (program.mode, program.path, program.reason) == (0o755, b"/p", Reason(Mapped.PROGRAM))
    assert program.content is not None
    assert program.content.sha256 == hashlib.sha256(found).hexdigest()


def test_what_a_file_was_is_on_record() -> None:
    made = trimmed(mapped())
    [one] = made.inputs
    assert (one.name, one.sha256) == ("trimmed", DIGEST)
    assert "/p: 65 bytes" in one.detail
    assert "65 bytes of code" in made.summary


def test_whoever_asks_for_the_file_gets_what_became_of_it() -> None:
    made = trimmed(mapped())
    after = made.entries[0].data()
    digest = hashlib.sha256(after).hexdigest()
    assert made.profile(profile()).program.sha256 == digest
    assert made.data(CODE) == after
    assert made.data(b"else") == b"else"
    read = made.reading({"/p": CODE, "/q": b"q"}.get)
    assert (read("/p"), read("/q"), read("/r")) == (after, b"q", None)
    functions = ObjectFunctions("/p", DIGEST, frozenset(), frozenset(), None, False, True)
    assert made.execute_path(ExecutePath((functions,), (), ())).objects[0].sha256 == digest


def test_a_file_that_is_mapped_twice_keeps_what_either_reaches() -> None:
    two = footprint(
        Unreachable("/p", DIGEST, ((10, 5), (40, 60))), Unreachable("/q", DIGEST, ((10, 5), (20, 5)))
    )
    made = Trimming((mapped(), mapped("/q", rule=Mapped.NEEDED)), two, profile())
    assert {entry.data() for entry in made.entries} == {CODE[:10] + TRAP * 5 + CODE[15:]}


def test_a_copy_that_a_user_includes_stays() -> None:
    made = trimmed(mapped(), file("/copy", CODE))
    assert made.entries[1].data() == CODE


def test_nothing_unreachable_changes_nothing() -> None:
    made = trimmed(mapped(), places=())
    assert made.entries[0].data() == CODE
    assert (made.files, made.inputs) == ((), ())


@pytest.mark.parametrize(
    "places", [((99, 2),), ((40, 60), (10, 5)), ((10, 5), (12, 5)), ((10, 0),), ((10, -1),), ((-1, 3),)]
)
def test_places_that_are_none(places: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ImageSpecError, match="a stretch of its"):
        trimmed(mapped(), places=places)


def test_code_that_was_not_analysed_is_refused() -> None:
    with pytest.raises(ImageSpecError, match="/tool, code that was not analysed"):
        trimmed(mapped(), file("/tool", b"\x7fELF and more"))
    trimmed(mapped(), file("/script", b"#!/bin/sh"))


def test_an_incomplete_profile_is_refused() -> None:
    for field in ("unresolved", "foreign_abi"):
        open_place = profile(**{field: (UnresolvedSite("/p", 1, "f", "why"),)})
        with pytest.raises(IncompleteProfileError, match="f at 0x1: why"):
            Trimming((mapped(),), footprint(), open_place)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ImageSpecError, match="a program for aarch64"):
        Trimming((mapped(),), footprint(), profile(arch="aarch64"))


def test_what_nothing_reaches_is_kept_with_a_footprint() -> None:
    found = footprint(Unreachable("/p", DIGEST, PLACES), Unreachable("/q", DIGEST, ()))
    assert loads(dumps(found), "it") == found
    with pytest.raises(ProfileError):
        loads(dumps(found).replace(b"[10,5]", b"[10,5,6]"), "it")
