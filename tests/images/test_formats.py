"""The bytes of each format: what real readers see in them, and that nothing but the tree decides them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from images.compress import Compression, compress
from images.content import Content
from images.cpio import cpio_bytes
from images.errors import ImageSpecError
from images.image import MANIFEST, Image, Making, image_of
from images.manifest import Input, loads
from images.oci import OciImage, RuntimeSettings, layout, oci_image
from images.oci_source import open_layout
from images.output import write_files
from images.ownership import Ownership, PackageVersion
from images.tar import tar_bytes
from images.tree import Entry, Kind, Tree
from shim.profile.profile import ArgumentCondition, Phase, SyscallRule
from tests.images.trees import WHY, directory, file, link
from tests.shim.conftest import need

TIME = 1_700_000_000
TREE = Tree.of(
    [
        file("/bin/program", b"\x7fELF" + bytes(1000), 0o755),
        file("/etc/ssl/Főtanúsítvány.crt", b"a certificate"),
        file("/" + "long/" * 60 + "name", b"deep"),
        link("/lib", "usr/lib"),
        link("/abs", "/" + "x" * 200),
        directory("/everybody", 0o1777),
        file("/secret", b"key", 0o600),
    ]
)
MAKING = Making(
    "/bin/program",
    ("/bin/program", "x"),
    "bin/program",
    ("--env", "A=1"),
    (Input("program", "0" * 64),),
    TIME,
    "1",
    "x86_64",
    (
        Phase("startup", None, (SyscallRule(0, "read", (), (), ("main",)),)),
        Phase("main", 7, (SyscallRule(41, "socket", ((ArgumentCondition(0, "eq", 1 << 63),), ())),)),
    ),
    Ownership(
        {"/bin/program": (PackageVersion("deb", "program", "1-2", "amd64", "debian", "12"),)},
        frozenset({"/bin/program"}),
        {"/bin/program": (PackageVersion("golang", "example.com/x", "1.0"),)},
    ),
)


def image() -> Image:
    return image_of(TREE.entries, b"launcher", b"plan", MAKING)


def unpacked(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Kind, mode, and contents or target of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            found["/" + str(path.relative_to(folder))] = ("symlink", 0o777, str(path.readlink()))
        elif path.is_dir():
            found["/" + str(path.relative_to(folder))] = ("directory", status.st_mode & 0o7777, "")
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found["/" + str(path.relative_to(folder))] = ("file", status.st_mode & 0o7777, digest)
    return found


def expected(tree: Tree) -> dict[str, tuple[str, int, str]]:
    return {
        entry.name: (
            str(entry.kind),
            entry.mode,
            entry.target.decode() or (entry.content.sha256 if entry.content else ""),
        )
        for entry in tree.entries
    }


@pytest.mark.parametrize("reader", [["tar", "-xpf", "-"], ["bsdtar", "-xpf", "-"]], ids=["GNU tar", "bsdtar"])
def test_archives_are_what_tar_reads(reader: list[str], tmp_path: Path) -> None:
    subprocess.run([need(reader[0]), *reader[1:]], input=tar_bytes(TREE, TIME), cwd=tmp_path, check=True)
    assert unpacked(tmp_path) == expected(TREE)
    assert int((tmp_path / "bin/program").stat().st_mtime) == TIME


@pytest.mark.parametrize(
    "reader", [["cpio", "-idm", "--quiet"], ["bsdtar", "-xpf", "-"]], ids=["cpio", "bsdtar"]
)
def test_archives_are_what_cpio_reads(reader: list[str], tmp_path: Path) -> None:
    subprocess.run([need(reader[0]), *reader[1:]], input=cpio_bytes(TREE, TIME), cwd=tmp_path, check=True)
    assert unpacked(tmp_path) == expected(TREE)
    assert int((tmp_path / "secret").stat().st_mtime) == TIME


def test_nothing_of_the_machine_is_in_an_archive() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(TREE, TIME))) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", TIME)


def test_archives_have_the_bytes_that_they_had() -> None:
    digests = [
        hashlib.sha256(archive).hexdigest()[:16]
        for archive in (tar_bytes(TREE, TIME), cpio_bytes(TREE, TIME))
    ]
    assert digests == ["5067c8afe01b6fc6", "799528648a13ba2c"]


def test_a_file_that_cpio_has_no_field_for() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 1 << 32

    entry = Entry(b"/a", Kind.FILE, 0o644, WHY, content=Content(1 << 32, "0" * 64, lambda: Huge(b"")))
    with pytest.raises(ImageSpecError, match="4294967295"):
        cpio_bytes(Tree.of([entry]), TIME)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=3000))
def test_compression_is_undone_by_others_and_done_the_same_way_twice(data: bytes) -> None:
    for how, undo in (
        (Compression.NONE, bytes),
        (Compression.GZIP, gzip.decompress),
        (Compression.ZSTD, lambda packed: zstandard.ZstdDecompressor().stream_reader(packed).read()),
    ):
        once, again = compress(data, how), compress(data, how)
        assert undo(once.data) == data
        assert once == again


@pytest.mark.parametrize(
    ("how", "level"),
    [(Compression.GZIP, 0), (Compression.GZIP, 10), (Compression.ZSTD, 0), (Compression.ZSTD, 23),
     (Compression.ZSTD, -5), (Compression.NONE, 1)],
)  # fmt: skip
def test_a_level_that_there_is_not(how: Compression, level: int) -> None:
    with pytest.raises(ImageSpecError, match="level"):
        compress(b"data", how, level)


def test_the_level_is_said_and_kept() -> None:
    assert compress(b"data", Compression.GZIP, 9).compressor.endswith(" level 9")
    assert compress(b"data" * 99, Compression.ZSTD, 22).compressor.endswith(" level 22")


def test_gzip_holds_no_time_no_name_and_no_system() -> None:
    assert compress(b"data", Compression.GZIP).data[:10] in (
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
        b"\x1f\x8b\x08\0\0\0\0\0\2\xff",
    )


def test_the_compressor_and_its_version_are_said_beside_the_layer() -> None:
    for how, name in ((Compression.GZIP, "zlib 1."), (Compression.ZSTD, "zstd 1.")):
        [layer] = manifest(oci_image(image(), how))["layers"]
        assert layer["annotations"]["tee-shim.compressor"].startswith(name)


def manifest(one: OciImage) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(one.manifest.data)
    return value


def test_the_configuration_is_the_same_however_a_layer_is_compressed() -> None:
    configs = {oci_image(image(), how).config.digest for how in Compression}
    assert len(configs) == 1


def test_what_a_configuration_says() -> None:
    config = json.loads(oci_image(image(), settings=RuntimeSettings((("a", "b"),), "7:8")).config.data)
    assert config["config"]["Entrypoint"] == ["/shim/launch", "/shim/plan"]
    assert config["config"]["User"] == "7:8"
    assert config["config"]["Labels"]["a"] == "b"
    assert "Cmd" not in config["config"]
    assert "Env" not in config["config"]
    assert config["created"] == config["history"][0]["created"] == "2023-11-14T22:13:20Z"
    assert (config["architecture"], config["os"]) == ("amd64", "linux")


@pytest.fixture(params=list(Compression), ids=str)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_files(tmp_path / "layout", layout((oci_image(image(), request.param),), "latest"))
    return tmp_path / "layout"


def test_a_layout_is_read_back_by_our_reader(written: Path) -> None:
    files = open_layout(str(written))
    for entry in image().tree.entries:
        if entry.content is not None:
            assert files.read(entry.name) == entry.data()
    text = files.read(MANIFEST)
    assert text is not None
    assert loads(text, "it") == image().manifest


def test_a_layout_is_what_skopeo_reads(written: Path) -> None:
    skopeo = need("skopeo")
    done = subprocess.run(
        [skopeo, "inspect", "--config", f"oci:{written}:latest"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["config"]["Entrypoint"] == ["/shim/launch", "/shim/plan"]
    copy = written.with_name("copy")
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", "-q", f"oci:{written}:latest", f"dir:{copy}"], check=True
    )
    assert len(list(copy.iterdir())) == 4


def test_a_layout_is_what_umoci_unpacks(written: Path, request: pytest.FixtureRequest) -> None:
    if "zstd" in request.node.name:
        pytest.skip("umoci 0.4.7 knows no layers in zstd")
    bundle = written.with_name("bundle")
    command = [
        need("umoci"),
        "--log=error",
        "unpack",
        "--rootless",
        "--image",
        f"{written}:latest",
        str(bundle),
    ]
    subprocess.run(command, check=True)
    assert unpacked(bundle / "rootfs") == expected(image().tree)
    shutil.rmtree(bundle)


def test_a_manifest_names_everything_but_itself() -> None:
    named = {item.path for item in image().manifest.items}
    assert named == {entry.name for entry in image().tree.entries} - {MANIFEST}


def test_nothing_of_the_image_may_be_in_the_launchers_folder() -> None:
    for path in ("/shim/launch", "/shim/other", "/shim"):
        with pytest.raises(ImageSpecError, match="the launcher's own"):
            image_of([file(path)], b"launcher", b"plan", MAKING)
