"""
Which of two versions is older, by the rules of their ecosystem?

A text that is no version there is an error: a lenient comparison would be a guess.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from semver import Version
from univers.versions import AlpineLinuxVersion, DebianVersion, InvalidVersion

from images.packages.errors import VersionError
from images.packages.package import Ecosystem

SOURCES = {
    Ecosystem.DEB: "Debian Policy 4.7, section 5.6.12, Version",
    Ecosystem.APK: "apk-tools 2.14, src/version.c, without suffixes that only it has",
    Ecosystem.GO: "Go modules reference, Versions; Go toolchains, Go versions",
    Ecosystem.CARGO: "Semantic Versioning 2.0.0",
}
_DEB = re.compile(r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+:~-]*")
_APK = re.compile(r"[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?")
# Releases of the toolchain and with it of the standard library: "1.20", "1.21rc2".
_GO_RELEASE = re.compile(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:(beta|rc)([0-9]+))?")
_MAX_LENGTH = 256


def older(ecosystem: Ecosystem, first: str, second: str) -> bool:
    """
    Whether the version `first` comes before `second`.

    Raises:
        VersionError: one of them is no version there, or the ecosystem has no order of its own.
    """
    return bool(_parsed(ecosystem, first) < _parsed(ecosystem, second))


@cache
def _parsed(ecosystem: Ecosystem, text: str) -> Any:  # noqa: ANN401  # what compares, one type for each ecosystem
    if ecosystem not in SOURCES:
        raise VersionError(text, f"a version of {ecosystem}", "deb, apk, golang or cargo")
    if len(text) > _MAX_LENGTH:
        raise VersionError(f"{text[:40]}...", f"{len(text)} characters", f"at most {_MAX_LENGTH}")
    try:
        if ecosystem is Ecosystem.DEB and _DEB.fullmatch(text):
            return DebianVersion(text)
        if ecosystem is Ecosystem.APK and _APK.fullmatch(text):
            return AlpineLinuxVersion(text)
        if ecosystem is Ecosystem.GO:
            return Version.parse(_go_release(text.removeprefix("v")))
        if ecosystem is Ecosystem.CARGO:
            return Version.parse(text)
    except (InvalidVersion, ValueError) as error:
        raise VersionError(repr(text), "no version", f"one of {ecosystem}", SOURCES[ecosystem]) from error
    raise VersionError(repr(text), "no version", f"one of {ecosystem}", SOURCES[ecosystem])


def _go_release(text: str) -> str:
    """Return a release of Go as the semantic version by which vulnerabilities are recorded."""
    match = _GO_RELEASE.fullmatch(text)
    if match is None:
        return text
    major, minor, patch, kind, number = match.groups()
    return f"{major}.{minor}.{patch or 0}" + (f"-{kind}.{number}" if kind else "")
