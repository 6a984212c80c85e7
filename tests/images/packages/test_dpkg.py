"""Whose is a file, by dpkg's database: on this machine as dpkg itself says, and on roots with one thing wrong."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies

from images.packages.errors import PackageDatabaseError, PackageError
from images.packages.inventory import inventory, shim_package
from images.packages.package import Ecosystem, Inventory, SourcePackage
from images.packages.stanzas import stanzas
from shim.elf.files import RootedFiles
from shim.errors import ShimError
from tests.fakes.roots import dpkg, image_file, image_files, stanza, write

TOOL = shim_package("0")
HERE = [
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/bin/busybox",
    "/usr/bin/dpkg",
    "/etc/debian_version",
    "/etc/ssl/certs/ca-certificates.crt",
    "/usr/bin/x86_64-linux-gnu-gcc-12",
]


def owned(root: Path, *paths: str) -> Inventory:
    return inventory(image_files(root, paths), RootedFiles(str(root)), TOOL)


def names(found: Inventory) -> list[list[str]]:
    return [[package.name for package in file.owners] for file in found.files]


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="no dpkg here")
def test_this_machine_as_dpkg_itself_says() -> None:
    paths = [path for path in HERE if Path(path).is_file()]
    found = owned(Path("/"), *paths)
    for file in found.files:
        # dpkg knows paths as they were packed, so both spellings are asked.
        spellings = [file.file.path, file.file.path.removeprefix("/usr")]
        said = subprocess.run(["dpkg-query", "-S", *spellings], capture_output=True, text=True, check=False)
        expected = {line.split(": ")[0].split(":")[0] for line in said.stdout.splitlines()}
        assert {package.name for package in file.owners} == expected
        for package in file.owners:
            query = ["dpkg-query", "-W", "-f", "${Version} ${source:Package} ${source:Version}", package.name]
            version = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
            assert package.source is not None
            assert [package.version, package.source.name, package.source.version] == version


def test_what_a_paragraph_says(tmp_path: Path) -> None:
    paragraph = stanza(Built_Using="glibc (= 2.36-9), zlib (= 1:1.2)", Depends="libc6 (>= 2.34), a | b:any")
    dpkg(tmp_path, (paragraph, {"/usr/bin/made": b"x"}))
    (package,) = owned(tmp_path, "/usr/bin/made").packages
    assert (package.name, package.version, package.arch) == ("made", "1.0-1+b2", "amd64")
    assert (package.distribution, package.release) == ("debian", "12")
    assert package.source == SourcePackage("made-source", "1.0-1")
    assert package.built_using == (SourcePackage("glibc", "2.36-9"), SourcePackage("zlib", "1:1.2"))
    assert package.depends == (("a", "b"), ("libc6",))
    assert package.supplier == "Some Body <some@body.example>"


def test_merged_directories_have_two_names(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {}))
    write(tmp_path, {"usr/lib/x.so": b"x", "var/lib/dpkg/info/made.list": "/.\n/lib\n/lib/x.so\n"})
    (tmp_path / "lib").symlink_to("usr/lib")
    assert names(owned(tmp_path, "/usr/lib/x.so")) == [["made"]]


def test_a_link_at_the_end_is_not_followed(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {}), (stanza(Package="linker"), {}))
    write(tmp_path, {"usr/bin/real": b"x"})
    write(tmp_path, {"var/lib/dpkg/info/made.list": "/usr/bin/real\n"})
    write(tmp_path, {"var/lib/dpkg/info/linker.list": "/usr/bin/alias\n"})
    (tmp_path / "usr/bin/alias").symlink_to("real")
    found = inventory(
        [image_file("/usr/bin/alias", b"x", "/usr/bin/alias")], RootedFiles(str(tmp_path)), TOOL
    )
    assert names(found) == [["made"]]  # the bytes are those of the file behind the link


def test_a_diverted_file_belongs_to_who_was_there_first(tmp_path: Path) -> None:
    dpkg(
        tmp_path,
        (stanza(Package="first"), {"/usr/bin/tool": b"first"}),
        (stanza(Package="second"), {"/usr/bin/tool": b"second"}),
    )
    write(tmp_path, {"usr/bin/tool": b"second", "usr/bin/tool.first": b"first"})
    write(tmp_path, {"var/lib/dpkg/diversions": "/usr/bin/tool\n/usr/bin/tool.first\nsecond\n"})
    found = owned(tmp_path, "/usr/bin/tool", "/usr/bin/tool.first")
    assert names(found) == [["second"], ["first"]]
    assert not any(file.altered for file in found.files)


def test_the_administrators_diversion_counts_for_all(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {"/usr/bin/tool": b"x"}))
    write(tmp_path, {"usr/bin/tool": b"own", "usr/bin/tool.distrib": b"x"})
    write(tmp_path, {"var/lib/dpkg/diversions": "/usr/bin/tool\n/usr/bin/tool.distrib\n:\n"})
    assert names(owned(tmp_path, "/usr/bin/tool", "/usr/bin/tool.distrib")) == [[], ["made"]]


def test_a_file_that_was_replaced_belongs_to_whose_digest_it_has(tmp_path: Path) -> None:
    dpkg(
        tmp_path,
        (stanza(Package="old"), {"/usr/bin/tool": b"old"}),
        (stanza(Package="new"), {"/usr/bin/tool": b"new"}),
    )
    assert names(owned(tmp_path, "/usr/bin/tool")) == [["new"]]


def test_a_shared_file_belongs_to_all(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(Package="a1"), {"/x": b"x"}), (stanza(Package="b1"), {"/x": b"x"}))
    assert names(owned(tmp_path, "/x")) == [["a1", "b1"]]


def test_a_changed_file_is_said_to_be_changed(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {"/usr/bin/made": b"x"}))
    write(tmp_path, {"usr/bin/made": b"patched"})
    (file,) = owned(tmp_path, "/usr/bin/made").files
    assert (len(file.owners), file.altered) == (1, True)


def test_a_changed_configuration_file_is_found_by_its_own_digest(tmp_path: Path) -> None:
    conffiles = "\n /etc/made.conf 9dd4e461268c8034f5c8564e155c67a6 obsolete"  # md5 of b"x"
    dpkg(tmp_path, (stanza(Conffiles=conffiles), {}))
    write(tmp_path, {"etc/made.conf": b"x", "var/lib/dpkg/info/made.list": "/etc/made.conf\n"})
    assert not owned(tmp_path, "/etc/made.conf").files[0].altered
    write(tmp_path, {"etc/made.conf": b"y"})
    assert owned(tmp_path, "/etc/made.conf").files[0].altered


@pytest.mark.parametrize(
    "state", ["deinstall ok config-files", "install ok not-installed", "install ok half-installed"]
)
def test_a_package_that_is_not_there_owns_nothing(tmp_path: Path, state: str) -> None:
    dpkg(tmp_path, (stanza(Status=state), {"/usr/bin/made": b"x"}))
    assert names(owned(tmp_path, "/usr/bin/made")) == [[]]


def test_lists_of_several_architectures(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(Multi_Arch="same"), {"/usr/lib/x": b"x"}), info="made:amd64")
    assert names(owned(tmp_path, "/usr/lib/x")) == [["made"]]
    (tmp_path / "var/lib/dpkg/info/made:amd64.list").rename(tmp_path / "var/lib/dpkg/info/made:arm64.list")
    assert names(owned(tmp_path, "/usr/lib/x")) == [[]]


def test_images_without_dpkg_keep_a_file_for_each_package(tmp_path: Path) -> None:
    paragraph = stanza(Status=None)
    write(tmp_path, {"etc/os-release": "ID=debian\nVERSION_ID=12\n", "usr/bin/made": b"x"})
    write(tmp_path, {"var/lib/dpkg/status.d/made": paragraph})
    write(
        tmp_path, {"var/lib/dpkg/status.d/made.md5sums": "9dd4e461268c8034f5c8564e155c67a6  usr/bin/made\n"}
    )
    found = owned(tmp_path, "/usr/bin/made")
    assert names(found) == [["made"]]
    assert not found.files[0].altered


def test_a_file_without_an_owner_is_nobodys(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {"/usr/bin/made": b"x"}))
    write(tmp_path, {"usr/local/bin/made": b"x", "opt/made": b"x"})
    found = owned(tmp_path, "/usr/local/bin/made", "/opt/made")
    assert names(found) == [[], []]
    assert found.packages == ()


def test_a_root_without_any_database(tmp_path: Path) -> None:
    write(tmp_path, {"made": b"x"})
    found = owned(tmp_path, "/made")
    assert names(found) == [[]]
    assert found.distribution is None


def test_what_was_made_for_the_image_is_the_shims(tmp_path: Path) -> None:
    found = inventory([image_file("/shim/launch", b"x")], RootedFiles(str(tmp_path)), TOOL)
    assert found.packages == (TOOL,)
    assert TOOL.ecosystem is Ecosystem.GENERIC


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    given_file = image_file("/x", b"x")
    changed = type(given_file)("/x", "", given_file.sha256, 1, 0o644, lambda: b"y")
    with pytest.raises(PackageError, match="as it was given"):
        inventory([changed], RootedFiles(str(tmp_path)), TOOL)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"Package": "No Name"}, "Package"),
        ({"Package": None}, "Package"),
        ({"Version": None}, "Version"),
        ({"Version": "1.0 2"}, "Version"),
        ({"Status": "installed"}, "Status"),
        ({"Status": None}, "Status"),
        ({"Source": "one two three"}, "Source"),
        ({"Architecture": "x\nnonsense"}, "status:5"),
        ({"Homepage": "x\nVersion: 2"}, "status:8"),
    ],
)
def test_a_damaged_status(tmp_path: Path, changes: dict[str, str | None], where: str) -> None:
    dpkg(tmp_path, (stanza(**changes), {"/made": b"x"}))
    with pytest.raises(PackageDatabaseError) as caught:
        owned(tmp_path, "/made")
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("var/lib/dpkg/diversions", "/a\n/b\n"),
        ("var/lib/dpkg/info/made.md5sums", "nonsense\n"),
        ("var/lib/dpkg/status", b"Package: \xff\n"),
        ("var/lib/dpkg/status", " continues nothing\n"),
        ("etc/os-release", "ID='debian\n"),
        ("etc/os-release", "nonsense\n"),
        ("etc/os-release", "ID=a b\n"),
        ("etc/os-release", 'ID="a/b"\n'),
    ],
)
def test_a_damaged_database(tmp_path: Path, path: str, text: str | bytes) -> None:
    dpkg(tmp_path, (stanza(), {"/made": b"x"}))
    write(tmp_path, {path: text})
    with pytest.raises(PackageDatabaseError) as caught:
        owned(tmp_path, "/made")
    assert path in caught.value.where


def test_too_much_is_refused_unread() -> None:
    with pytest.raises(PackageDatabaseError, match="want at most 10 bytes"):
        list(stanzas(b"a: b\n" * 3, "status", ("a",), 10))


@given(strategies.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ShimError):
        list(stanzas(data, "status", ("package",), 1000))
