"""Layers of strangers: what they do to each other, and what none may do."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from images.errors import SourceError
from images.layers import Layers
from images.source import Found

Change = Callable[[tarfile.TarInfo], None]


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), target
    return info, data


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.SYMTYPE, target=target)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.LNKTYPE, target=target)


def applied(*layers: bytes) -> Layers:
    files = Layers("test")
    for number, one in enumerate(layers):
        files.apply(one, f"layer {number}")
    return files


def test_a_later_layer_covers_an_earlier_one() -> None:
    files = applied(layer(member("a", b"1"), member("b", b"1")), layer(member("./a", b"2")))
    assert (files.read("/a"), files.read("/b")) == (b"2", b"1")


def test_whiteouts_take_away_what_lower_layers_have() -> None:
    lower = layer(folder("d"), member("d/a", b"1"), folder("d/e"), member("d/e/f", b"1"), member("g", b"1"))
    files = applied(lower, layer(member("d/.wh.e"), member(".wh.g"), member(".wh.never")))
    assert files.listing("/") == ("d",)
    assert files.listing("/d") == ("a",)
    assert files.read("/d/e/f") is None


@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_an_opaque_directory_keeps_what_its_own_layer_has(*, first: bool) -> None:
    own = (member("d/new", b"2"), member("d/.wh..wh..opq"))
    files = applied(
        layer(folder("d"), member("d/old", b"1")), layer(folder("d"), *(own if first else own[::-1]))
    )
    assert files.listing("/d") == ("new",)


def test_a_directory_that_becomes_a_file_loses_what_was_in_it() -> None:
    files = applied(layer(folder("d"), member("d/a", b"1")), layer(member("d", b"2")))
    assert files.read("/d") == b"2"
    assert files.read("/d/a") is None


def test_a_directory_of_two_layers_has_what_both_have() -> None:
    files = applied(layer(folder("d"), member("d/a", b"1")), layer(folder("d"), member("d/b", b"2")))
    assert files.listing("/d") == ("a", "b")


def test_hard_links_are_the_same_file() -> None:
    files = applied(layer(member("a", b"1")), layer(hardlink("b", "a")))
    assert files.read("/b") == b"1"


def test_links_lead_to_places_in_the_image_only() -> None:
    files = applied(
        layer(
            folder("etc"),
            member("etc/passwd", b"image"),
            symlink("up", "../../../../etc"),
            symlink("abs", "/etc/passwd"),
        )
    )
    assert files.canonical("/up/passwd") == "/etc/passwd"
    assert files.read("/up/passwd") == files.read("/abs") == b"image"


def test_what_is_put_behind_a_link_lands_in_the_image() -> None:
    files = applied(
        layer(folder("usr/bin"), symlink("bin", "usr/bin"), symlink("out", "../../..")),
        layer(member("bin/x", b"1"), member("out/y", b"2")),
    )
    assert files.read("/usr/bin/x") == b"1"
    assert files.read("/y") == b"2"


def test_devices_are_there_and_hold_nothing() -> None:
    files = applied(layer(member("null", kind=tarfile.CHRTYPE), member("pipe", kind=tarfile.FIFOTYPE)))
    node = files.node("/null")
    assert node is not None
    assert node.kind is Found.OTHER
    assert files.read("/null") is None
    with pytest.raises(SourceError, match="no regular file"):
        files.content("/pipe")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("../x", b"1")], "leads out of the image"),
        ([member("a/../../x", b"1")], "leads out of the image"),
        ([member("a/..", b"1")], "leads out of the image"),
        ([member("/etc/passwd", b"1")], "leads out of the image"),
        ([hardlink("a", "../../etc/passwd")], "leads out of the image"),
        ([hardlink("a", "/etc/passwd")], "leads out of the image"),
        ([hardlink("a", "missing")], "no file before it"),
        ([folder("d"), hardlink("a", "d")], "no file before it"),
        ([symlink("s", "x"), hardlink("a", "s")], "no file before it"),
        ([member("a/" * 3000 + "b", b"1")], "4095 at most"),
        ([symlink("a", "b" * 5000)], "sizes that can be"),
        ([symlink("a", "b"), symlink("b", "a"), member("a/c", b"1")], "40 symbolic links"),
        ([member("../.wh.x")], "leads out of the image"),
    ],
)
def test_what_no_honest_layer_holds(members: list[tuple[tarfile.TarInfo, bytes]], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        applied(layer(*members))


def test_sizes_that_cannot_be() -> None:
    header = bytearray(layer(member("a", b"1"))[:512])
    header[124:136] = struct.pack(">Bxxx q", 0xFF, -512)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(SourceError):
        applied(bytes(header) + bytes(1024))


def test_a_file_that_claims_more_than_the_archive_holds() -> None:
    with pytest.raises(SourceError):
        applied(layer(member("a", b"1" * 5000))[:2000])


def test_a_sparse_file_is_no_way_around_the_limit() -> None:
    info, _ = member("a")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "a",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(1 << 40),
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(SourceError, match="sparse"):
        applied(stream.getvalue())


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=1500)
    | st.builds(
        lambda at, new: layer(folder("d"), member("d/a", b"x" * 600), symlink("l", "d"))[:at] + new,
        st.integers(0, 3000),
        st.binary(max_size=600),
    )
)
def test_any_bytes_are_a_layer_or_an_error_of_ours(data: bytes) -> None:
    files = Layers("test")
    try:
        files.apply(data, "layer")
    except SourceError:
        return
    files.listing("/")
