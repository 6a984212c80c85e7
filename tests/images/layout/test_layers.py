"""Layers unpack to what the configuration says, within bounds, and into their own directory only."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from images.layout.errors import LayoutError
from images.layout.graph import Layout, Manifest, parse
from images.layout.layers import archives, check_layers, entry_point, platform_of, user_of
from images.layout.unpack import file_in, unpack
from shim.errors import ShimError
from tests.fakes import layouts
from tests.fakes.layouts import PREFIX, put, replaced, tar

ARCHIVE = tar(layouts.FILES)


def image(files: dict[str, bytes]) -> tuple[Layout, Manifest]:
    layout = parse(files, "img")
    (found,) = layout.manifests()
    return layout, found


def stored(data: bytes, media_type: str, diff_id: str | None = None) -> dict[str, bytes]:
    """Return a layout whose one layer is stored as `data`."""
    files: dict[str, bytes] = {}
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id or layouts.sha256(ARCHIVE)]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(files, f"{PREFIX}.config.v1+json", json.dumps(config).encode()),
        "layers": [put(files, media_type, data)],
    }
    entry = put(files, f"{PREFIX}.manifest.v1+json", json.dumps(manifest).encode())
    return {
        **files,
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
    }


LAYER = f"{PREFIX}.layer.v1.tar"
PACKED = gzip.compress(ARCHIVE, mtime=0)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (ARCHIVE, LAYER),
        (PACKED, f"{LAYER}+gzip"),
        (gzip.compress(ARCHIVE[:999]) + gzip.compress(ARCHIVE[999:]), f"{LAYER}+gzip"),
        (zstandard.compress(ARCHIVE), f"{LAYER}+zstd"),
        (zstandard.compress(ARCHIVE[:99]) + zstandard.compress(ARCHIVE[99:]), f"{LAYER}+zstd"),
    ],
    ids=["plain", "gzip", "gzip twice", "zstd", "zstd twice"],
)
def test_each_compression(data: bytes, media_type: str) -> None:
    layout, found = image(stored(data, media_type))
    assert archives(layout, found) == (ARCHIVE,)
    check_layers(layout, found)
    check_layers(layout, found, len(ARCHIVE))


@pytest.mark.parametrize(
    ("data", "media_type", "message"),
    [
        (PACKED, LAYER, "unpacked: found sha256:"),
        (ARCHIVE, f"{LAYER}+gzip", "a damaged gzip stream"),
        (PACKED[:-1], f"{LAYER}+gzip", "cut off"),
        (PACKED[:-9], f"{LAYER}+gzip", "cut off"),
        (b"", f"{LAYER}+gzip", "cut off"),
        (PACKED + b"more", f"{LAYER}+gzip", "a damaged gzip stream"),
        (PACKED + gzip.compress(b"more"), f"{LAYER}+gzip", "unpacked: found sha256:"),
        (PACKED[:50] + bytes((PACKED[50] ^ 1,)) + PACKED[51:], f"{LAYER}+gzip", "damaged|unpacked"),
        (zstandard.compress(ARCHIVE)[:-3], f"{LAYER}+zstd", "damaged|unpacked"),
        (ARCHIVE, f"{LAYER}+zstd", "a damaged zstd stream"),
        (ARCHIVE, f"{LAYER}+xz", "mediaType: found"),
        (ARCHIVE, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "mediaType: found"),
    ],
)
def test_layers_that_are_none(data: bytes, media_type: str, message: str) -> None:
    layout, found = image(stored(data, media_type))
    for use in (archives, check_layers):
        with pytest.raises(LayoutError, match=message):
            use(layout, found)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_bomb_is_stopped_without_room_for_it(pack: Callable[[bytes], bytes]) -> None:
    suffix = "gzip" if pack is gzip.compress else "zstd"
    layout, found = image(stored(pack(bytes(64 << 20)), f"{LAYER}+{suffix}"))
    tracemalloc.start()
    with pytest.raises(LayoutError, match="more bytes than the limit allows"):
        archives(layout, found, 8 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rootfs": {"diff_ids": []}}, "found 0 layers, want 1"),
        ({"rootfs": {"diff_ids": ["a", "b"]}}, "found 2 layers"),
        ({"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}, "as the configuration says"),
        ({"rootfs": None}, "want a JSON object"),
        ({"rootfs": {"diff_ids": [1]}}, "an array of strings"),
    ],
)
def test_a_configuration_that_is_of_something_else(change: Mapping[str, object], message: str) -> None:
    files = layouts.layout()
    _, found = image(files)
    name = f"blobs/sha256/{found.config.digest}"
    layout, found = image(replaced(files, name, json.dumps(json.loads(files[name]) | change).encode()))
    with pytest.raises(LayoutError, match=message):
        check_layers(layout, found)


def test_what_a_configuration_says() -> None:
    layout, found = image(layouts.layout())
    assert platform_of(layout, found) == "linux/amd64"
    assert entry_point(layout, found) == ("/shim/launch", "/shim/plan")


def with_user(user: object) -> tuple[Layout, Manifest]:
    files = layouts.layout()
    name = f"blobs/sha256/{image(files)[1].config.digest}"
    value = json.loads(files[name])
    value["config"]["User"] = user
    return image(replaced(files, name, json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("user", "ids"), [("", None), ("1000", (1000, 1000)), ("1000:7", (1000, 7)), ("0:0", (0, 0))]
)
def test_who_runs_it(user: str, ids: tuple[int, int] | None) -> None:
    assert user_of(*with_user(user)) == ids
    assert user_of(*image(layouts.layout())) is None


@pytest.mark.parametrize(
    "user", ["root", "1000:users", "-1", "1:2:3", ":7", "1:", "4294967295", "99999999999", 7, None]
)
def test_users_that_are_none(user: object) -> None:
    with pytest.raises(LayoutError, match="User"):
        user_of(*with_user(user))


def test_files_are_found_and_unpacked(tmp_path: Path) -> None:
    assert file_in((ARCHIVE,), "shim/plan", "img") == b"plan"
    assert file_in((ARCHIVE, tar({"shim/plan": b"above"})), "shim/plan", "img") == b"above"
    assert file_in((ARCHIVE,), "bin/hi", "img") is None
    unpack((ARCHIVE,), tmp_path, "img")
    assert (tmp_path / "bin" / "hello").read_bytes() == b"\x7fELF hello"
    assert (tmp_path / "bin" / "hi").readlink() == Path("hello")
    assert (tmp_path / "shim" / "launch").stat().st_mode & 0o777 == 0o755


def member(name: str, **more: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        for key, value in more.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return out.getvalue()


OUTSIDE = "a name that leads out of the image"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((member("../evil", size=1),), OUTSIDE),
        ((member("/etc/passwd", size=1),), OUTSIDE),
        ((member("a/../../evil", size=1),), OUTSIDE),
        ((tar({"a": "/var"}), member("a/evil", size=1)), "directories before what is in them"),
        ((tar({"a": ".."}), member("a/evil", size=1)), "directories before what is in them"),
        ((tar({"b/": b"", "b/a": "."}), member("b/a/evil", size=1)), "directories before what is in them"),
        ((member("missing/evil", size=1),), "directories before what is in them"),
        ((tar({"a": b"1"}), tar({"a": b"2"})), "a second entry"),
        ((tar({"a": "b"}), tar({"a": b"2"})), "a second entry"),
        ((tar({"a": "b"}), tar({"a/": b""})), "a second entry|found"),
        ((member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),), "an entry of type"),
        ((member("pipe", type=tarfile.FIFOTYPE),), "an entry of type"),
        ((tar({"a": b"1"}), member("b", type=tarfile.LNKTYPE, linkname="a")), "an entry of type"),
        ((member(".wh.bin"),), "a whiteout"),
        ((b"no archive" * 512 + bytes(1024),), "no tar archive"),
        ((ARCHIVE[:700],), "an archive without an end"),
        ((ARCHIVE[:1024],), "an archive without an end"),
        ((b"",), "an archive without an end"),
    ],
)
def test_hostile_archives_write_nothing_outside(
    layers: tuple[bytes, ...], message: str, tmp_path: Path
) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(ShimError, match=message):
        unpack(layers, inside, "img")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    assert not Path("/var/evil").exists()  # where a link above leads


def test_no_set_user_id(tmp_path: Path) -> None:
    unpack((member("su", mode=0o4755),), tmp_path, "img")
    assert (tmp_path / "su").stat().st_mode & 0o7777 == 0o755


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(ARCHIVE)))
def test_any_archive_is_unpacked_or_an_error(tail: bytes, length: int) -> None:
    for archive in (tail, ARCHIVE[:length] + tail):
        try:
            file_in((archive,), "shim/plan", "img")
        except LayoutError as error:
            assert str(error)
