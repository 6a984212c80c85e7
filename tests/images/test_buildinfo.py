"""A record of a build is read back as it was written; one that was altered is none, and no image of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from attestation.reference_values import Entry
from images import buildinfo
from images.buildinfo import BootInput, BuildInfo, Written
from images.compress import Compression
from images.differences import differences, same
from images.errors import ManifestError
from images.image import MANIFEST, image_of
from images.layout.errors import LayoutError
from images.manifest import Input, Manifest, dumps
from images.oci import RuntimeSettings, layout, oci_image
from images.output import write_files, write_tree
from images.ownership import PackageVersion
from images.recorded import recorded
from images.tree import Kind
from shim.canonical import canonical_bytes, sha256_hex
from shim.profile.profile import Profile, SyscallRule
from tests.images.test_formats import MAKING, TREE
from tests.images.trees import file

LAUNCHER = b"launcher"
IMAGE = image_of(
    TREE.entries,
    LAUNCHER,
    b"plan",
    replace(MAKING, inputs=(Input("launcher", sha256_hex(LAUNCHER)), Input("program", "11" * 32))),
)
WRITTEN = Written(
    "uki",
    "zstd",
    7,
    "zstd 1.5.5 level 7",
    (("a", "b"),),
    "7:8",
    "latest",
    "ip=dhcp",
    ("1:EPYC-Milan",),
    (
        BootInput("kernel", "/boot/vmlinuz", "22" * 32, named=True),
        BootInput("stub", "/s", "33" * 32, named=False),
    ),
    99,
    "44" * 32,
    (Entry("tpm", "pcr11", "sha-256", bytes(32), "it", {"secure_boot": "on"}),),
)
TEXT = buildinfo.dumps(IMAGE.manifest, WRITTEN)


def test_it_is_read_back() -> None:
    assert buildinfo.loads(TEXT, "it") == BuildInfo(IMAGE.manifest, WRITTEN)
    assert buildinfo.loads(dumps(IMAGE.manifest), "it") == BuildInfo(IMAGE.manifest, None)


def test_it_says_which_options_write_the_image_so() -> None:
    words = "--format uki --compress zstd --level 7 --label a=b --user 7:8 --tag latest --cmdline ip=dhcp"
    assert " ".join(WRITTEN.options) == f"{words} --kernel /boot/vmlinuz --snp 1:EPYC-Milan"


def changed(change: str, value: object) -> bytes:
    text: Any = json.loads(TEXT)
    place = text
    *above, last = change.split(".")
    for name in above:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return canonical_bytes(text)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("kind", "another"), ("schema", 0), ("schema", 2), ("schema", None), ("more", 1), ("manifest", {}),
        ("manifest.schema", 3), ("written", 7), ("written.form", "iso"), ("written.more", 1),
        ("written.size", "9"), ("written.level", "7"), ("written.sha256", "x"), ("written.sha256", 7),
        ("written.labels", 7), ("written.labels", {"a": 7}), ("written.snp", [7]), ("written.tag", None),
        ("written.boot.0.path", 7), ("written.boot.0.name", "output"), ("written.boot.0.sha256", "no"),
        ("written.boot.0.named", 1), ("written.expected", {}), ("written.expected.values.0.digest", "zz"),
        ("written.compression", "lzma"),
    ],
)  # fmt: skip
def test_what_is_no_record(change: str, value: object) -> None:
    with pytest.raises(ManifestError):
        buildinfo.loads(changed(change, value), "it")


def test_one_of_a_newer_version_says_so() -> None:
    with pytest.raises(ManifestError, match="schema: found 2, want at most 1: a newer tee-shim wrote it"):
        buildinfo.loads(changed("schema", 2), "it")


@given(st.binary(max_size=99))
def test_any_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(ManifestError):
        buildinfo.loads(data, "it")


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_one_byte_of_it_is_another(place: int, byte: int) -> None:
    altered = TEXT[:place] + bytes((byte,)) + TEXT[place + 1 :]
    try:
        found = buildinfo.loads(altered, "it")
    except ManifestError:
        return
    assert found.written is not None
    assert buildinfo.dumps(found.manifest, found.written) == altered


def test_it_is_not_nested_without_end() -> None:
    deep = (
        b'{"kind":"tee-shim/buildinfo","manifest":' + b"[" * 900 + b"]" * 900 + b',"schema":1,"written":{}}'
    )
    with pytest.raises(ManifestError):
        buildinfo.loads(deep, "it")


@pytest.mark.parametrize("text", [TEXT + b"\n", TEXT.replace(b'"schema":1', b'"schema": 1'), TEXT[:-1]])
def test_it_has_one_spelling(text: bytes) -> None:
    with pytest.raises(ManifestError):
        buildinfo.loads(text, "it")


def a_layout(folder: Path) -> Path:
    settings = RuntimeSettings((("a", "b"), ("c", "d")), "7")
    image = oci_image(IMAGE, Compression.ZSTD, settings, 3)
    write_files(folder / "image", layout((image,), "v1"))
    return folder / "image"


def a_directory(folder: Path) -> Path:
    write_tree(folder / "image", IMAGE.tree, IMAGE.created)
    return folder / "image"


def test_a_layout_says_how_it_was_written(tmp_path: Path) -> None:
    found = recorded(a_layout(tmp_path)).info
    assert found.manifest == IMAGE.manifest
    assert found.written is not None
    options = "--format oci --compress zstd --level 3 --label a=b --label c=d --user 7 --tag v1"
    assert " ".join(found.written.options) == options


def test_a_directory_is_what_its_manifest_says(tmp_path: Path) -> None:
    found = recorded(a_directory(tmp_path)).info
    assert (found.manifest, found.written and found.written.form) == (IMAGE.manifest, "rootfs")


def overwritten(image: Path) -> None:
    (image / "bin/program").write_bytes(b"another")


def removed(image: Path) -> None:
    (image / "secret").unlink()


def relinked(image: Path) -> None:
    (image / "lib").unlink()
    (image / "lib").symlink_to("usr/lib64")


def a_file_for_a_link(image: Path) -> None:
    (image / "lib").unlink()
    (image / "lib").write_bytes(b"")


def no_manifest(image: Path) -> None:
    (image / MANIFEST[1:]).unlink()


def another_manifest(image: Path) -> None:
    altered = replace(IMAGE.manifest, plan="00" * 32)
    (image / MANIFEST[1:]).write_bytes(dumps(altered))


@pytest.mark.parametrize(
    "damage", [overwritten, removed, relinked, a_file_for_a_link, no_manifest, another_manifest]
)
def test_an_altered_directory_says_nothing(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    image = a_directory(tmp_path)
    damage(image)
    with pytest.raises(ManifestError):
        recorded(image)


def test_what_a_layout_has_and_its_manifest_has_not(tmp_path: Path) -> None:
    more = replace(IMAGE, tree=type(TREE).of((*IMAGE.tree.entries, file("/more"))))
    write_files(tmp_path / "image", layout((oci_image(more),), "latest"))
    with pytest.raises(ManifestError, match="/more: found something, want nothing"):
        recorded(tmp_path / "image")


def test_a_layout_with_another_byte(tmp_path: Path) -> None:
    image = a_layout(tmp_path)
    blob = max((image / "blobs/sha256").iterdir(), key=lambda one: one.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(LayoutError, match="want the digest that it is named by"):
        recorded(image)


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "00" * 32},
        {"inputs": ()},
        {"inputs": (Input("launcher", "00" * 32),)},
        {"items": tuple(item for item in IMAGE.manifest.items if item.path != "/shim/plan")},
    ],
)
def test_a_manifest_that_contradicts_itself(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "it").write_bytes(dumps(replace(IMAGE.manifest, **change)))
    with pytest.raises(ManifestError, match="as it says elsewhere"):
        recorded(tmp_path / "it")


NOTHING = Profile("x86_64", (), IMAGE.manifest.phases, (), (), (), "")


def compared(**change: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of a manifest
    """Return what differs, by the fields of Differences that have something."""
    new: Manifest = replace(IMAGE.manifest, **change)
    found = differences((IMAGE.manifest, WRITTEN), (new, WRITTEN), replace(NOTHING, phases=new.phases))
    return {name: getattr(found, name) for name in found.__slots__ if getattr(found, name)}


def test_an_image_differs_from_itself_in_nothing() -> None:
    assert compared() == {}
    assert same((IMAGE.manifest, WRITTEN), (IMAGE.manifest, WRITTEN))
    assert same((IMAGE.manifest, None), (IMAGE.manifest, WRITTEN))
    assert not same((IMAGE.manifest, WRITTEN), (IMAGE.manifest, replace(WRITTEN, sha256="55" * 32)))


@pytest.mark.parametrize(
    "field", [name for name in Manifest.__slots__ if name not in ("items", "phases", "plan")]
)
def test_no_field_of_a_manifest_differs_in_silence(field: str) -> None:
    value = getattr(IMAGE.manifest, field)
    others = {str: f"{value}x", int: 7, tuple: (*value, "x") if isinstance(value, tuple) else ()}
    new = (Input("more", "00" * 32),) if field == "inputs" else others[type(value)]
    if field == "arch":
        new = "aarch64"
        assert replace(IMAGE.manifest, arch=new) != IMAGE.manifest
        return  # another architecture is refused: `shim.profile.diff`
    assert compared(**{field: new}) != {}


def test_a_package_that_was_updated_and_its_file() -> None:
    items = list(IMAGE.manifest.items)
    (place,) = [number for number, item in enumerate(items) if item.path == "/bin/program"]
    package = replace(items[place].packages[0], version="1-3")
    items[place] = replace(items[place], sha256="99" * 32, size=7, packages=(package,), altered=False)
    found = compared(items=tuple(items))
    assert [(one.name, one.before, one.after) for one in found["packages"]] == [("program", "1-2", "1-3")]
    (one,) = found["files"]
    assert (one.kind, one.path, one.what) == (
        "changed",
        "/bin/program",
        ("contents", "package"),
    )  # as installed now
    assert [str(owner) for owner in one.packages] == ["program 1-3"]


@pytest.mark.parametrize("field", list(PackageVersion.__slots__))
def test_no_field_of_a_package_differs_in_silence(field: str) -> None:
    items = [
        replace(item, packages=tuple(replace(one, **{field: "x"}) for one in item.packages))
        for item in IMAGE.manifest.items
    ]
    assert compared(items=tuple(items)) != {}


def test_files_that_came_and_went() -> None:
    gone = tuple(item for item in IMAGE.manifest.items if item.path not in ("/secret", "/bin/program"))
    found = compared(
        items=(*gone, replace(gone[0], path="/new", packages=(PackageVersion("apk", "a", "1"),)))
    )
    kinds = {one.path: one.kind for one in found["files"]}
    assert kinds == {"/secret": "removed", "/bin/program": "removed", "/new": "added"}
    versions = {(one.name, one.before, one.after) for one in found["packages"]}
    assert versions == {("program", "1-2", ""), ("example.com/x", "1.0", ""), ("a", "", "1")}


@pytest.mark.parametrize("field", ["kind", "mode", "target", "reason"])
def test_no_field_of_a_file_differs_in_silence(field: str) -> None:
    (item,) = [one for one in IMAGE.manifest.items if one.path == "/bin"]
    others = [one for one in IMAGE.manifest.items if one != item]
    values = {"kind": Kind.SYMLINK, "mode": 0o123, "target": "x", "reason": replace(item.reason, detail="x")}
    found = compared(items=(replace(item, **{field: values[field]}), *others))
    assert found["files"][0].what == (field,)


def test_calls_that_came_and_went() -> None:
    startup, main = IMAGE.manifest.phases
    found = compared(phases=(startup, replace(main, rules=(SyscallRule(57, "fork", (), (), ("main",)),))))
    assert {(one.kind, one.name) for one in found["syscalls"]} == {("added", "fork"), ("removed", "socket")}
    assert next(one for one in found["syscalls"] if one.name == "fork").after.why == ("main",)


def test_what_hardware_says_and_what_it_was_made_of() -> None:
    kernel = replace(WRITTEN.boot[0], sha256="66" * 32)
    entry = replace(WRITTEN.expected[0], digest=b"x" * 32)
    new = replace(WRITTEN, boot=(kernel, WRITTEN.boot[1]), expected=(entry,), size=100, compressor="zstd 9")
    found = differences((IMAGE.manifest, WRITTEN), (IMAGE.manifest, new), NOTHING)
    assert [(one.name, one.after) for one in found.inputs] == [("kernel", "66" * 32)]
    assert [one.name for one in found.measurements] == ["tpm pcr11, secure_boot on"]
    assert found.measurements[0].after == f"sha-256:{(b'x' * 32).hex()}"
    assert [(one.name, one.before, one.after) for one in found.sizes] == [("uki", "99", "100")]
    assert [one.name for one in found.made_by] == ["compressor"]
