"""What is in an initramfs, a disk, an image's layers; and everything else is refused."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings, strategies as st

from images import disk
from images.boot.disk import boot_program
from images.boot.errors import BootImageFormError, InitramfsError
from images.boot.initramfs import content, is_initramfs, members, replaced, unpacked
from images.boot.layers import initramfs_of
from images.compress import Compression, compress
from images.content import Content
from images.cpio import cpio_bytes
from images.layout.errors import LayoutError
from images.tree import Entry, Reason, Tree
from tests.fakes import pe as fakes

REASON = Reason("test")
CREATED = 1_700_000_000
FILES = {b"/shim/plan": b"the plan", b"/shim/launch": b"launcher" * 9, b"/program": b"p" * 1001}


def archive(files: dict[bytes, bytes] = FILES) -> bytes:
    entries = [Entry.file(path, Content.of(data), REASON) for path, data in files.items()]
    return cpio_bytes(Tree.of(entries), CREATED)


@given(st.binary(max_size=3000))
@settings(deadline=None)
def test_a_file_that_is_replaced_is_what_was_meant_and_the_rest_stays(new: bytes) -> None:
    made = replaced(archive(), b"shim/plan", new, "x")
    assert made == archive({**FILES, b"/shim/plan": new})[: len(made)].ljust(len(made), b"\0")
    assert {one.name: made[one.data] for one in members(made, "x")} == {
        one.name: new if one.name == b"shim/plan" else archive()[one.data] for one in members(archive(), "x")
    }
    assert len(made) % 512 == 0


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_an_initramfs_is_read_however_it_is_compressed(compression: Compression) -> None:
    data = compress(archive(), compression).data
    assert is_initramfs(data)
    assert content(unpacked(data, "x"), b"program", "x") == FILES[b"/program"]


def test_what_is_not_there_is_none_and_cannot_be_replaced() -> None:
    assert content(archive(), b"shim/other", "x") is None
    with pytest.raises(InitramfsError, match="found 0 of them, want one"):
        replaced(archive(), b"shim/other", b"", "x")


DAMAGED = {
    "nothing": b"",
    "cut": archive()[:-600],
    "no trailer": archive()[: archive().index(b"TRAILER") - 110],
    "a second archive": archive() + archive(),
    "no number": archive().replace(b"070701", b"070701XX", 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_refused(name: str) -> None:
    with pytest.raises(InitramfsError):
        list(members(DAMAGED[name], "x"))


@given(st.integers(0, 5000))
@settings(deadline=None, max_examples=60)
def test_every_beginning_is_refused_or_whole(size: int) -> None:
    whole = archive()
    if size < len(whole.rstrip(b"\0")):
        with pytest.raises(InitramfsError):
            list(members(whole[:size], "x"))


@pytest.mark.parametrize("data", [gzip.compress(archive())[:-9], b"\x28\xb5\x2f\xfd....", b"MZ"])
def test_what_cannot_be_unpacked_is_refused(data: bytes) -> None:
    with pytest.raises(InitramfsError):
        unpacked(data, "x")


# Disks.

PROGRAM = fakes.uki()


@pytest.mark.parametrize("created", [CREATED, CREATED + 1])
def test_the_program_of_a_disk_is_found(created: int) -> None:
    assert boot_program(disk.image(PROGRAM, created).to_bytes(), "x") == PROGRAM
    assert boot_program(disk.vhd_image(PROGRAM, created).to_bytes(), "x") == PROGRAM


def test_a_disk_of_the_smaller_kind_is_read_too() -> None:
    assert boot_program(disk.image(PROGRAM, CREATED, esp_size=8 << 20).to_bytes(), "x") == PROGRAM


def test_something_else_is_no_disk() -> None:
    assert boot_program(bytes(4096), "x") is None


@pytest.mark.parametrize("at", [0x1FE, 600, 1 << 20, (1 << 20) + 0x5000, -1, -600, 20 << 20])
def test_a_disk_that_was_changed_is_refused(at: int) -> None:
    data = bytearray(disk.image(PROGRAM, CREATED).to_bytes())
    data[at] ^= 1
    with pytest.raises(BootImageFormError, match="want a disk of shim build, unchanged"):
        boot_program(bytes(data), "x")


# Layers.


def layer(files: dict[str, bytes], links: dict[str, str] | None = None, mtime: int = CREATED) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), mtime, 0o644
            made.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            made.addfile(member)
    return out.getvalue()


def test_layers_become_what_shim_build_would_have_written() -> None:
    plain = {name[1:].decode(): data for name, data in FILES.items()}
    assert initramfs_of([layer(plain)], "x") == archive()


def test_a_higher_layer_replaces_and_links_stay_links() -> None:
    lower = layer({"shim/plan": b"old", "program": b"p"}, {"name": "program"})
    made = initramfs_of([lower, layer({"shim/plan": b"new"})], "x")
    assert content(made, b"shim/plan", "x") == b"new"
    assert content(made, b"name", "x") == b"program"


def test_layers_without_a_plan_or_with_a_way_out_are_refused() -> None:
    with pytest.raises(InitramfsError, match="found no /shim/plan"):
        initramfs_of([layer({"program": b""})], "x")
    with pytest.raises(LayoutError, match="leads out of the image"):
        initramfs_of([layer({"../shim/plan": b""})], "x")
