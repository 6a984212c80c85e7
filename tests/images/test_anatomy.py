"""What is in an image that is at hand: what lies there counts, whatever its manifest and records say."""

from __future__ import annotations

import tarfile

from hypothesis import given, settings, strategies as st

from images.anatomy import MANIFEST, anatomy
from images.content import Content
from images.errors import SourceError
from images.image import Making, image_of
from images.layers import Layers
from images.tar import tar_bytes
from images.tree import Entry, Reason
from tests.images.test_layers import folder, layer, member, symlink

MAKING = Making("/bin/a", ("a",), "a", ("--env", "A"), (), 0, "0.1.0", "x86_64")
FROM = Reason("program", "", "")


def honest() -> bytes:
    entries = [
        Entry.directory(b"/bin", Reason("directory", "/bin/a", "")),
        Entry.file(b"/bin/a", Content.of(b"program"), FROM, mode=0o755),
        Entry.symlink(b"/a", b"bin/a", Reason("link", "/bin/a", "")),
    ]
    return tar_bytes(image_of(entries, b"launcher", b"plan", MAKING).tree, 0)


def layers(*archives: bytes) -> Layers:
    files = Layers("test")
    for archive in archives:
        files.apply(archive, "layer")
    return files


def test_an_image_as_it_was_made() -> None:
    found = anatomy(layers(honest()))
    assert found.problems == ()
    assert [one.path for one in found.files] == [
        "/a", "/bin", "/bin/a", "/proc", "/shim", "/shim/launch", MANIFEST, "/shim/plan",
    ]  # fmt: skip
    program = found.find("/bin/a")
    assert program is not None
    assert (program.reason, program.size, program.mode, program.differs) == (FROM, 7, 0o755, ())
    assert [one.path for one in found.files if one.reason is None] == [MANIFEST]
    assert found.find("/bin/b") is None
    assert found.manifest is not None
    assert found.manifest.request == ("--env", "A")


def test_what_is_otherwise_than_the_manifest_says() -> None:
    over = layer(
        member("bin/a", b"another"), member("shim/plan", b"another"), symlink("proc", "/"), member("new"),
        member("a", b"no link"),
    )  # fmt: skip
    found = anatomy(layers(honest(), over))
    said = {one.path: one.differs for one in found.files if one.differs}
    assert said.keys() == {"/a", "/bin/a", "/proc", "/shim/plan"}
    assert said["/a"] == ("a file, by the manifest a symlink",)
    assert len(said["/bin/a"]) == 2
    assert said["/bin/a"][0] == "mode 0644, by the manifest 0755"
    new = found.find("/new")
    assert new is not None
    assert new.reason is None
    assert len(found.problems) == 1
    assert found.problems[0].startswith("/shim/plan: sha256 ")


def test_what_is_gone() -> None:
    found = anatomy(layers(honest(), layer(member("bin/.wh.a"))))
    assert found.problems == ("/bin/a: the manifest names it, and it is not there",)


def test_no_manifest_or_one_that_is_none() -> None:
    found = anatomy(layers(layer(folder("bin"), member("null", kind=tarfile.CHRTYPE))))
    assert found.problems == (f"{MANIFEST}: there is none: nothing says why files are there",)
    assert [(one.path, one.kind) for one in found.files] == [
        ("/bin", "directory"),
        ("/null", "device, socket or pipe"),
    ]
    found = anatomy(layers(honest(), layer(member("shim/manifest.json", b"{}"))))
    assert found.manifest is None
    assert len(found.problems) == 1


def test_records_that_are_damaged_are_said() -> None:
    records = layer(
        member("etc/os-release", b"ID=debian\n"), member("var/lib/dpkg/status.d/x", b"Package: \xff\n")
    )
    found = anatomy(layers(honest(), records))
    assert all(one.packages == () for one in found.files)
    assert len(found.problems) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from(["shim/manifest.json", "var/lib/dpkg/status", "bin/a", "etc/os-release"]),
)
def test_any_bytes_in_any_place(data: bytes, place: str) -> None:
    try:
        found = anatomy(layers(honest(), layer(member(place, data))))
    except SourceError:
        return
    assert found.find(f"/{place}") is not None
