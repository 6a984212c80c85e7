# ruff: noqa: F811  # fixtures are named as what they are
"""`shim build --sbom`: the documents beside an image, and what scanners find inside."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from images.sbom.cyclonedx_schema import check_schema
from tests.shim.cli.test_build import Shim, cache, digests, hello, shim  # noqa: F401  # fixtures
from tests.shim.conftest import compile_c  # noqa: F401  # a fixture

BUSYBOX = Path("/usr/bin/busybox")
RECORD = {
    "id": "SHIM-1",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [{"package": {"ecosystem": "Debian:12", "name": "libnothing"}, "versions": ["1"]}],
}


@pytest.fixture
def busybox() -> str:
    if not BUSYBOX.exists() or not Path("/var/lib/dpkg/status").exists():
        pytest.skip("no busybox of a package of dpkg")
    return str(BUSYBOX)


def test_the_package_of_a_program_is_named_outside_and_inside(
    shim: Shim, busybox: str, tmp_path: Path
) -> None:
    done = shim("--format", "rootfs", "--sbom", tmp_path / "docs", "-o", tmp_path / "root", busybox, "true")
    assert done.returncode == 0, done.stderr
    spdx = json.loads((tmp_path / "docs" / "sbom.spdx.json").read_text())
    cyclonedx = json.loads((tmp_path / "docs" / "sbom.cdx.json").read_text())
    # dpkg may know it by a path from before /bin became a link.
    command = ["dpkg-query", "-S", "*bin/busybox"]
    owner = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(":")[0]
    assert owner in {package["name"] for package in spdx["packages"]}
    assert owner in {component["name"] for component in cyclonedx["components"]}
    assert (tmp_path / "root/var/lib/dpkg/status.d" / owner).read_text().startswith(f"Package: {owner}\n")
    manifest = json.loads((tmp_path / "root/shim/manifest.json").read_text())
    assert manifest["request"] == ["--sbom"]
    files = {file["fileName"].lstrip("./") for file in spdx["files"]}
    there = {
        str(path.relative_to(tmp_path / "root"))
        for path in (tmp_path / "root").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert files == there
    lacking = [line for line in done.stderr.splitlines() if line.startswith("shim: SBOM: ")]
    assert lacking == [
        f"shim: SBOM: no {element} of image busybox; {option} says it"
        for element, option in (
            ("Author of SBOM Data", "--author NAME"),
            ("Supplier Name", "--supplier NAME"),
            ("Version of the Component", "--program-version TEXT"),
        )
    ]


def test_a_program_of_no_package_belongs_to_none(shim: Shim, hello: Path, tmp_path: Path) -> None:
    assert shim("--sbom", "docs", "-o", tmp_path / "out", hello).returncode == 0
    spdx = json.loads((tmp_path / "docs" / "sbom.spdx.json").read_text())
    assert {package["name"] for package in spdx["packages"]} == {"hello", "tee-shim"}


SAID = ("--supplier", "Made Ltd <made@made.example>", "--program-version", "1.2", "--author", "Some One")


def test_what_its_maker_says_makes_the_documents_complete(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim(
        "--sbom", "docs", *SAID, "-o", tmp_path / "out", hello, env={"SOURCE_DATE_EPOCH": "1700000000"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert validate_full_spdx_document(parse_file(str(tmp_path / "docs/sbom.spdx.json"))) == []
    check_schema((tmp_path / "docs/sbom.cdx.json").read_bytes())
    spdx = json.loads((tmp_path / "docs/sbom.spdx.json").read_text())
    assert set(spdx["creationInfo"]["creators"]) > {"Organization: Some One"}
    assert {
        one["name"]: (one["versionInfo"], one["supplier"])
        for one in spdx["packages"]
        if one["name"] == "hello"
    } == {"hello": ("1.2", "Organization: Made Ltd (made@made.example)")}
    assert [one["name"] for one in spdx["packages"]].count("hello") == 2  # the image, and its program
    cyclonedx = json.loads((tmp_path / "docs/sbom.cdx.json").read_text())
    assert cyclonedx["metadata"]["authors"] == [{"name": "Some One"}]
    for one in (cyclonedx["metadata"]["component"], *cyclonedx["components"]):
        if one["name"] == "hello":
            assert (one["version"], one["supplier"]["name"]) == ("1.2", "Made Ltd")
    (program,) = [one for one in cyclonedx["components"] if one["name"] == "hello"]
    assert (program["purl"], program["components"][0]["name"]) == ("pkg:generic/hello@1.2", "/hello")


def test_what_its_maker_says_is_no_part_of_the_image(shim: Shim, hello: Path, tmp_path: Path) -> None:
    for name, said in (("one", ()), ("two", SAID)):
        assert shim("--sbom", "docs", *said, "-o", tmp_path / name, hello).returncode == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_what_nobody_says_is_not_made_up(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("--sbom", "docs", "--supplier", "Made Ltd", "-o", tmp_path / "out", hello)
    assert done.stderr.splitlines() == [
        "shim: SBOM: no Version of the Component of generic hello; --program-version TEXT says it",
        "shim: SBOM: no Author of SBOM Data of image hello; --author NAME says it",
        "shim: SBOM: no Version of the Component of image hello; --program-version TEXT says it",
    ]


def test_a_program_of_a_package_keeps_its_supplier(shim: Shim, busybox: str, tmp_path: Path) -> None:
    assert shim("--sbom", "docs", *SAID, "-o", tmp_path / "out", busybox, "true").returncode == 0
    spdx = json.loads((tmp_path / "docs/sbom.spdx.json").read_text())
    suppliers = {one["SPDXID"]: one["supplier"] for one in spdx["packages"]}
    assert [key for key, value in suppliers.items() if "Made Ltd" in value] == ["SPDXRef-Image"]


def test_documents_are_the_same_each_time(shim: Shim, hello: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert shim("--sbom", folder, "-o", tmp_path / "out", hello).returncode == 0
    for name in ("sbom.spdx.json", "sbom.cdx.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_vulnerabilities_mean_is_a_document_of_its_own(shim: Shim, hello: Path, tmp_path: Path) -> None:
    (tmp_path / "osv.json").write_text(json.dumps(RECORD))
    done = shim("--sbom", "docs", "--vulns", "osv.json", "-o", tmp_path / "out", hello)
    assert done.returncode == 0, done.stderr
    assert "openvex" in json.loads((tmp_path / "docs" / "vex.openvex.json").read_text())["@context"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vulns", "osv.json"), "found --vulns, want --sbom DIR beside it"),
        (("--supplier", "x"), "found --supplier, want --sbom DIR beside it"),
        (("--program-version", "1"), "found --program-version, want --sbom DIR beside it"),
        (("--author", "x"), "found --author, want --sbom DIR beside it"),
        (("--sbom", "docs", "--author", "a\nb"), "in one line"),
        (("--sbom", "docs", "--author", " "), "in one line"),
        (("--sbom", "docs", "--supplier", "x" * 201), "at most 200 characters"),
        (("--sbom", "hello"), "is a file"),
        (("--sbom", "hello/docs"), "hello/docs"),
        (("--sbom", "docs", "--vulns", "nothing"), "does not exist"),
        (("--sbom", "docs", "--vulns", "hello"), "hello"),
        (("--sbom", "docs", "--vulns", "number.json"), "number.json"),
    ],
)
def test_what_is_refused(
    shim: Shim, hello: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "osv.json").write_text(json.dumps(RECORD))
    (tmp_path / "number.json").write_text("7")
    done = shim(*options, "-o", tmp_path / "out", hello)
    assert done.returncode != 0
    assert message in done.stderr
