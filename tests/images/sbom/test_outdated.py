"""`shim outdated`: on lists as apt keeps them, those of this machine included, and on each that does not do."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given, strategies

from images.sbom.errors import SbomFormatError
from images.sbom.reading import package_urls
from shim.cli.main import run
from tests.fakes.roots import write

NOW = "2026-01-10T12:00:00Z"
RELEASE = """Origin: Debian
Label: Debian
Suite: stable
Version: 12.9
Codename: bookworm
Date: Sat, 10 Jan 2026 00:00:00 UTC
"""
SECURITY = (
    RELEASE.replace("Label: Debian", "Label: Debian-Security")
    .replace("Suite: stable", "Suite: stable-security")
    .replace("12.9", "12")
    .replace("bookworm", "bookworm-security")
    + "Valid-Until: Sat, 17 Jan 2026 00:00:00 UTC\n"
)
SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
MAIN, POCKET = "mirror_debian_dists_bookworm", "mirror_debian-security_dists_bookworm-security"


def paragraph(name: str, version: str, arch: str = "amd64") -> str:
    return f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nDescription: x\n y\n\n"


def lists(folder: Path, **more: str | bytes) -> Path:
    """Write lists of a main part and a security pocket."""
    files: dict[str, str | bytes] = {
        f"{MAIN}_InRelease": SIGNED.format(RELEASE),
        f"{MAIN}_main_binary-amd64_Packages": paragraph("libc6", "2.36-9")
        + paragraph("tzdata", "2025b-0", "all"),
        f"{POCKET}_Release": SECURITY,
        f"{POCKET}_main_binary-amd64_Packages": paragraph("libssl3", "3.0.2-1"),
    }
    return write(folder / "lists", files | more)


def sbom(folder: Path, *urls: str) -> Path:
    """Write an SPDX document with packages."""
    references = [
        [{"referenceType": "purl", "referenceLocator": url, "referenceCategory": "x"}] for url in urls
    ]
    document = {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "x", "externalRefs": one} for one in references],
    }
    return write(folder, {"sbom.json": json.dumps(document)}) / "sbom.json"


def deb(name: str, version: str, arch: str = "amd64", distro: str = "debian-12") -> str:
    return f"pkg:deb/debian/{name}@{version}?arch={arch}&distro={distro}"


def outdated(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = run(["outdated", "--at", NOW, *map(str, arguments)])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_current(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = sbom(
        tmp_path,
        deb("libc6", "2.36-9"),
        deb("tzdata", "2025b-0", "all"),
        deb("libssl3", "3.0.2-2"),
        "pkg:golang/stdlib@1.19",
    )
    code, out, _ = outdated(capfd, document, "--lists", lists(tmp_path))
    assert code == 0
    assert out == ("3 current, by lists made 0.5 days ago\n1 of no distribution, not compared\n")


def test_newer_versions_and_where_they_come_from(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = sbom(
        tmp_path, deb("libc6", "2.36-8"), deb("libssl3", "3.0.1-9"), deb("tzdata", "2025b-0", "all")
    )
    code, out, _ = outdated(capfd, document, "--lists", lists(tmp_path), "--format", "json")
    value = json.loads(out)
    assert code == 1
    assert [(one["name"], one["ours"], one["newest"], one["security"]) for one in value["newer"]] == [
        ("libc6", "2.36-8", "2.36-9", False),
        ("libssl3", "3.0.1-9", "3.0.2-1", True),
    ]
    assert value["current"] == 1
    code, out, _ = outdated(capfd, document, "--lists", lists(tmp_path))
    assert code == 1
    assert out.splitlines()[1].split() == ["libc6", "2.36-8", "2.36-9", "no", "stable"]


def test_the_newest_of_several_and_security_of_any(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    more = {
        f"{POCKET}_main_binary-amd64_Packages": paragraph("libc6", "2.36-9~deb12u1")
        + paragraph("libc6", "2.36-8")
    }
    document = sbom(tmp_path, deb("libc6", "2.36-8"))
    _, out, _ = outdated(capfd, document, "--lists", lists(tmp_path, **more), "--format", "json")
    (one,) = json.loads(out)["newer"]
    assert (one["newest"], one["security"], one["suite"]) == ("2.36-9", True, "stable")


def test_another_architecture_is_another_package(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outdated(
        capfd, sbom(tmp_path, deb("libc6", "2.36-8", "arm64")), "--lists", lists(tmp_path)
    )
    assert code == 2
    assert "not in the lists: libc6 2.36-8" in out


def test_a_package_in_no_list_is_not_current(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = lists(tmp_path)
    code, out, _ = outdated(capfd, sbom(tmp_path, deb("own", "1"), deb("libc6", "2.36-9")), "--lists", folder)
    assert code == 2
    assert "not in the lists: own 1" in out
    code, _, _ = outdated(capfd, sbom(tmp_path, deb("own", "1"), deb("libc6", "2.36-8")), "--lists", folder)
    assert code == 1


def test_backports_do_not_count(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    more = {
        "mirror_dists_bookworm-backports_InRelease": SIGNED.format(RELEASE + "NotAutomatic: yes\n"),
        "mirror_dists_bookworm-backports_main_binary-amd64_Packages": paragraph("libc6", "3"),
    }
    code, _, _ = outdated(capfd, sbom(tmp_path, deb("libc6", "2.36-9")), "--lists", lists(tmp_path, **more))
    assert code == 0


def test_the_next_release_does_not_count(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    more = {
        "mirror_dists_trixie_InRelease": SIGNED.format(RELEASE.replace("12.9", "13.1")),
        "mirror_dists_trixie_main_binary-amd64_Packages": paragraph("libc6", "3"),
    }
    folder = lists(tmp_path, **more)
    assert outdated(capfd, sbom(tmp_path, deb("libc6", "2.36-9")), "--lists", folder)[0] == 0
    assert (
        outdated(capfd, sbom(tmp_path, deb("libc6", "2.36-9", distro="debian-13")), "--lists", folder)[0] == 1
    )


def test_lists_of_others_count(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    more = {
        "other_dists_x_InRelease": SIGNED.format(RELEASE.replace("Origin: Debian", "Origin: Other")),
        "other_dists_x_main_binary-amd64_Packages": paragraph("made", "2"),
    }
    code, _, _ = outdated(capfd, sbom(tmp_path, deb("made", "1")), "--lists", lists(tmp_path, **more))
    assert code == 1


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".lz4": lz4.frame.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_lists(tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str) -> None:
    folder = lists(tmp_path)
    plain = folder / f"{MAIN}_main_binary-amd64_Packages"
    packed = PACKERS[ending](plain.read_bytes())
    plain.unlink()
    place = folder / f"{plain.name}{ending}"
    document = sbom(tmp_path, deb("libc6", "2.36-8"))
    place.write_bytes(packed)
    assert outdated(capfd, document, "--lists", folder)[0] == 1
    for damaged in (packed[:-9], b"nonsense", b""):
        place.write_bytes(damaged)
        code, _, err = outdated(capfd, document, "--lists", folder)
        assert code == 2
        assert place.name in err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (f"{MAIN}_InRelease", SIGNED.format(RELEASE.replace("Sat, 10 Jan", "Sun, 04 Jan")), ""),  # security is newer
        (f"{POCKET}_Release", SECURITY.replace("Valid-Until: Sat, 17", "Valid-Until: Sat, 10"), "valid until"),
        (f"{MAIN}_InRelease", SIGNED.format(RELEASE.replace("Date: Sat, 10 Jan 2026 00:00:00 UTC\n", "")), "Date"),
        (f"{MAIN}_InRelease", SIGNED.format(RELEASE.replace("Sat, 10 Jan 2026 00:00:00 UTC", "yesterday")), "Date"),
        (f"{MAIN}_InRelease", "nonsense", "InRelease"),
        (f"{MAIN}_main_binary-amd64_Packages", "nonsense\n", "Packages"),
        (f"{MAIN}_main_binary-amd64_Packages", "Package: libc6\n\n", "Packages"),
        (f"{MAIN}_main_binary-amd64_Packages", "Package: libc6\nVersion: 1\nVersion: 2\n\n", "Packages"),
        (f"{MAIN}_main_binary-amd64_Packages", paragraph("libc6", "nonsense"), "nonsense"),
        (f"{MAIN}_main_binary-amd64_Packages.zst", "x", ".zst"),
    ],
)  # fmt: skip
def test_lists_that_do_not_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    code, _, err = outdated(
        capfd, sbom(tmp_path, deb("libc6", "2.36-9")), "--lists", lists(tmp_path, **{name: text})
    )
    assert code == (2 if said else 0)
    assert said in err


def test_old_lists(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document, folder = sbom(tmp_path, deb("libc6", "2.36-9")), lists(tmp_path)
    code, _, err = outdated(capfd, document, "--lists", folder, "--max-age", "0.4")
    assert code == 2
    assert "want lists of the last 0.4 days: apt update" in err
    assert outdated(capfd, document, "--lists", folder, "--max-age", "0.6")[0] == 0
    assert outdated(capfd, document, "--lists", folder, "--max-age", "0")[0] == 2


def test_no_lists(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = sbom(tmp_path, deb("libc6", "2.36-9"))
    for folder in (tmp_path / "none", write(tmp_path / "empty", {"lock": ""})):
        code, _, err = outdated(capfd, document, "--lists", folder)
        assert code == 2
        assert "no Release file" in err
    folder = lists(tmp_path)
    (folder / f"{MAIN}_main_binary-amd64_Packages").unlink()
    assert outdated(capfd, document, "--lists", folder)[0] == 2


@pytest.mark.parametrize(
    "url",
    [
        deb("libc6", "2.36-9", distro="debian-11"),
        "pkg:deb/ubuntu/libc6@2.36-9?arch=amd64&distro=ubuntu-22.04",
    ],
)
def test_lists_of_another_distribution(tmp_path: Path, capfd: pytest.CaptureFixture[str], url: str) -> None:
    code, _, err = outdated(capfd, sbom(tmp_path, url), "--lists", lists(tmp_path))
    assert code == 2
    assert "Debian 12" in err


def test_nothing_that_lists_could_have(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for urls in ((), ("pkg:apk/alpine/musl@1?arch=x86_64",)):
        assert outdated(capfd, sbom(tmp_path, *urls), "--lists", lists(tmp_path))[0] == 2


def test_no_bill_of_materials(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "x"
    place.write_text("{}")
    assert outdated(capfd, place, "--lists", lists(tmp_path))[0] == 2
    assert outdated(capfd, tmp_path / "none", "--lists", lists(tmp_path))[0] == 2


@pytest.mark.parametrize(
    "value",
    [
        3, [], {}, {"spdxVersion": "SPDX-3.0"}, {"bomFormat": "x"}, {"spdxVersion": "SPDX-2.3", "packages": 3},
        {"spdxVersion": "SPDX-2.3", "packages": [3]}, {"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": [{}]}]},
        {"bomFormat": "CycloneDX", "components": [{"purl": 3}]}, {"bomFormat": "CycloneDX", "components": [{"purl": "x"}]},
        {"bomFormat": "CycloneDX", "components": {"purl": "x"}},
    ],
)  # fmt: skip
def test_what_is_no_bill_of_materials(value: object) -> None:
    with pytest.raises(SbomFormatError):
        package_urls(json.dumps(value).encode(), "sbom")


def test_packages_inside_others_are_found() -> None:
    inner = {"purl": "pkg:cargo/x@1", "components": [{"purl": "pkg:cargo/y@1"}, {"name": "file"}]}
    value = {"bomFormat": "CycloneDX", "components": [inner, inner]}
    assert [url.name for url in package_urls(json.dumps(value).encode(), "sbom")] == ["x", "y"]


@given(strategies.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(SbomFormatError):
        package_urls(data, "sbom")


@pytest.mark.skipif(not list(Path("/var/lib/apt/lists").glob("*Release")), reason="no lists of apt here")
def test_this_machine_as_apt_itself_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    query = ["dpkg-query", "-W", "-f", "${Version} ${Architecture}", "libc6"]
    version, arch = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    policy = subprocess.run(
        ["apt-cache", "policy", "libc6"], capture_output=True, text=True, check=True
    ).stdout
    candidate = policy.split("Candidate: ")[1].split("\n")[0]
    release = next(
        line for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("VERSION_ID=")
    )
    distro = "debian-" + release.split("=")[1].strip('"')
    arguments = ["outdated", "--max-age", "10000", "--format", "json"]
    code = run([*arguments, str(sbom(tmp_path, deb("libc6", "2.0", arch, distro)))])
    said = capfd.readouterr()
    if code == 2:
        pytest.skip(f"lists that do not do: {said.err}")
    assert json.loads(said.out)["newer"][0]["newest"] == candidate
    assert run([*arguments, str(sbom(tmp_path, deb("libc6", candidate, arch, distro)))]) == 0
    assert version


def test_help_loads_no_library_of_the_extra() -> None:
    script = "import sys; from shim.cli.main import run; run(['outdated', '--help']); print({'packageurl', 'lz4', 'univers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
