"""One tree: complete, in one order, and nothing in it that an image cannot hold."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from images.content import Content
from images.errors import ConflictsError, SourceError
from images.tree import Entry, Kind, Tree
from tests.images.trees import WHY, directory, file, link

NAMES = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\x7f", exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=8,
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


@given(st.lists(PATHS, max_size=12, unique=True), st.randoms())
def test_a_tree_is_the_same_in_whatever_order_its_entries_come(paths: list[str], shuffled: object) -> None:
    below = {path.rpartition("/")[0] for path in paths}
    above = {path[:at] for path in paths for at in range(len(path)) if path[at] == "/"}
    entries = [directory(path) if path in above | below else file(path) for path in paths]
    first = Tree.of(entries)
    shuffled.shuffle(entries)  # type: ignore[attr-defined]  # hypothesis has no type for it
    again = Tree.of(entries)
    assert [entry.path for entry in first.entries] == [entry.path for entry in again.entries]
    assert all(mine.same(other) for mine, other in zip(first.entries, again.entries, strict=True))


@given(st.lists(PATHS, max_size=12, unique=True))
def test_every_parent_is_there_before_what_is_in_it(paths: list[str]) -> None:
    above = {path[:at] for path in paths for at in range(1, len(path)) if path[at] == "/"}
    tree = Tree.of([file(path) for path in paths if path not in above])
    seen: set[bytes] = {b""}
    for entry in tree.entries:
        assert entry.path.rpartition(b"/")[0] in seen
        seen.add(entry.path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([file("/a", b"1"), file("/a", b"2")], "want one file for one path"),
        ([file("/a"), file("/a", mode=0o755)], "of mode 755"),
        ([file("/a"), directory("/a")], "a directory"),
        ([link("/a", "b"), link("/a", "c")], "to c"),
        ([file("/a"), file("/a/b")], "a file at /a"),
        ([link("/a", "/b"), file("/a/b/c")], "a symlink at /a"),
        ([file("a")], "empty or dotted"),
        ([file("/a//b")], "empty or dotted"),
        ([file("/a/../b")], "empty or dotted"),
        ([file("/a/.")], "empty or dotted"),
        ([file("/a/")], "empty or dotted"),
        ([file("/")], "empty or dotted"),
        ([file("/a\nb")], "control characters"),
        ([file("/a\x1b[2J")], "control characters"),
        ([file("/a\x85b")], "control characters"),
        ([Entry.file(b"/\xff", Content.of(b""), WHY)], "control characters"),
        ([link("/a", "b\nc")], "control characters"),
        ([Entry.symlink(b"/a", b"\xff", WHY)], "control characters"),
        ([file("/" + "a" * 256)], "255 in each name"),
        ([file("/a" * 2048)], "4095 bytes"),
        ([link("/a", "")], "0 bytes"),
        ([link("/a", "x" * 4096)], "4096 bytes"),
        ([link("/a", "..")], "above the root"),
        ([link("/a/b", "../../etc/shadow")], "above the root"),
        ([link("/a/b", "c/../../../d")], "above the root"),
        ([link("/a", "/../b")], "above the root"),
    ],
)
def test_what_cannot_be_in_an_image(entries: list[Entry], said: str) -> None:
    with pytest.raises(ConflictsError) as caught:
        Tree.of(entries)
    assert said in str(caught.value)


def test_all_conflicts_are_said_at_once() -> None:
    with pytest.raises(ConflictsError) as caught:
        Tree.of([file("/a", b"1"), file("/a", b"2"), file("/b\n"), link("/c", "..")])
    assert len(caught.value.problems) == len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("target", ["/etc/x", "../x", "x/../../y", "/..x", "."])
def test_links_that_stay_in_the_image(target: str) -> None:
    assert Tree.of([link("/a/b", target)]).get(b"/a/b") is not None


def test_links_are_followed_as_a_process_in_the_image_does() -> None:
    tree = Tree.of(
        [link("/lib", "usr/lib"), file("/usr/lib/x"), link("/usr/lib/y", "/lib/x"), link("/loop", "loop")]
    )
    found = tree.find(b"/lib/y")
    assert found is not None
    assert (found.path, found.kind) == (b"/usr/lib/x", Kind.FILE)
    assert tree.get(b"/lib/y") is None
    assert tree.find(b"/loop") is None
    assert tree.exists("/lib/../lib/x")
    assert not tree.exists("/lib/z")
    assert tree.exists("/")


def test_a_content_by_reference_has_to_stay_what_it_was() -> None:
    held = [b"before"]
    content = Content.by_reference("it", lambda: held[0])
    assert content == Content.of(b"before")
    assert content.read() == b"before"
    held[0] = b"after"
    with pytest.raises(SourceError, match="when the build began"):
        content.read()
