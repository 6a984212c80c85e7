"""Which version is older: as dpkg itself says, by apk's own examples, and by the rules of Go and Cargo."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest

from images.packages.errors import VersionError
from images.packages.package import Ecosystem
from images.packages.versions import older

DEBIAN = [
    "0",
    "1.0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1~deb12u1",
    "1.0~rc1-1",
    "1.0.0",
    "1:0.9",
    "2:0",
    "1.10-1",
    "1.9-1",
    "1.0-1+deb12u10",
    "1.0-1+deb12u9",
    "1.0+dfsg-1",
    "1.0-1.1",
    "1.0a-1",
    "1.0-10",
    "1.0-9",
    "7:5.1.6-0+deb12u1",
]


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg here")
def test_debian_versions_as_dpkg_itself_says() -> None:
    pairs = list(itertools.combinations(DEBIAN, 2))
    script = "".join(f'dpkg --compare-versions "{a}" lt "{b}"; echo $?\n' for a, b in pairs)
    said = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True).stdout.split()
    assert [older(Ecosystem.DEB, a, b) for a, b in pairs] == [answer == "0" for answer in said]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("2.34", "2.34.1"), ("2.34-r0", "2.34-r1"), ("2.9-r9", "2.9-r10"), ("1.2_rc1", "1.2"), ("1.2", "1.2_p1"),
        ("1.2_alpha1", "1.2_beta1"), ("1.2_pre2", "1.2_rc1"), ("1.2a-r5", "1.2b-r0"), ("1.9", "1.10"),
    ],
)  # fmt: skip
def test_alpine_versions(low: str, high: str) -> None:
    assert older(Ecosystem.APK, low, high)
    assert not older(Ecosystem.APK, high, low)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("v1.2.3", "v1.2.4"), ("1.9.0", "1.10.0"), ("0.0.0-20200501145240-bc7a7d42d5c3", "0.1.0"),
        ("1.20", "1.20.1"), ("1.21rc2", "1.21"), ("1.21rc2", "1.21rc10"), ("1.19.8", "1.20rc1"),
        ("1.2.3-0.20200501145240-bc7a7d42d5c3", "1.2.3"),
    ],
)  # fmt: skip
def test_go_versions(low: str, high: str) -> None:
    assert older(Ecosystem.GO, low, high)
    assert not older(Ecosystem.GO, high, low)


@pytest.mark.parametrize("ecosystem", [Ecosystem.DEB, Ecosystem.APK, Ecosystem.GO, Ecosystem.CARGO])
def test_a_version_is_not_older_than_itself(ecosystem: Ecosystem) -> None:
    assert not older(ecosystem, "1.2.3", "1.2.3")


@pytest.mark.parametrize(
    ("ecosystem", "text"),
    [
        (Ecosystem.DEB, ""), (Ecosystem.DEB, "a1"), (Ecosystem.DEB, "1.0 2"), (Ecosystem.DEB, "v1"),
        (Ecosystem.APK, "1.2_git20230717-r2"), (Ecosystem.APK, "02-r1"), (Ecosystem.APK, "1~abc"),
        (Ecosystem.GO, "(devel)"), (Ecosystem.GO, "5e16e5031a13f8a11057feb8544decebfc43b4ed"),
        (Ecosystem.GO, "1"), (Ecosystem.GO, "devel go1.24-abc"), (Ecosystem.CARGO, "1.0"),
        (Ecosystem.CARGO, "v1.0.0"), (Ecosystem.GENERIC, "1.0.0"), (Ecosystem.DEB, "1" * 300),
    ],
)  # fmt: skip
def test_what_is_no_version_is_not_compared(ecosystem: Ecosystem, text: str) -> None:
    with pytest.raises(VersionError):
        older(ecosystem, text, "1.2.3")
