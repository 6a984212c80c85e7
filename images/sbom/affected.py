"""Is a package at a version that a record is about?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cmp_to_key

from images.packages.errors import VersionError
from images.packages.package import Ecosystem, Package
from images.packages.versions import older
from images.sbom.osv import Affected, Range

SOURCE = "OSV schema 1.6.7, Evaluation"
_ECOSYSTEMS = {"Go": Ecosystem.GO, "crates.io": Ecosystem.CARGO}


class Answer(StrEnum):
    """What the versions of a record say of one version."""

    AFFECTED = "affected"
    FIXED = "fixed"
    NOT_YET = "not yet introduced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What the versions of a record say, and why.

    Attributes:
        answer: What they say.
        version: Which version was asked about, of the package itself or of what is built into it.
        reason: Why, in words.
    """

    answer: Answer
    version: str
    reason: str


def names_of(package: Package) -> tuple[tuple[str, str], ...]:
    """
    Return (name, version) under which records know a package: a source package's for distributions.

    Source packages whose code was built into it are among them.
    """
    if package.ecosystem not in (Ecosystem.DEB, Ecosystem.APK):
        # What stands in the place of a module may be the same code at any version.
        replaced = ((package.replaces, ""),) if package.replaces else ()
        return ((package.name, package.version), *replaced)
    source = package.source
    own = (package.name, package.version) if source is None else (source.name, source.version)
    return (own, *((one.name, one.version) for one in package.built_using))


def meant(affected: Affected, package: Package) -> bool:
    """Whether a record's ecosystem and name are those of a package, at whatever version and release."""
    if not any(name == affected.name for name, _ in names_of(package)):
        return False
    if package.ecosystem in (Ecosystem.DEB, Ecosystem.APK):
        return affected.ecosystem.partition(":")[0].lower() == package.distribution
    return _ECOSYSTEMS.get(affected.ecosystem) is package.ecosystem


def _of_release(affected: Affected, package: Package) -> bool:
    release = affected.ecosystem.partition(":")[2]
    if not release or not package.release:
        return True  # of every release, or of one that is not known here
    # "Debian:12", "Alpine:v3.18" for 3.18.2, "Ubuntu:Pro:22.04:LTS"
    parts = [part.removeprefix("v") for part in release.split(":")]
    return any(package.release == part or package.release.startswith(f"{part}.") for part in parts)


def evaluate(affected: Iterable[Affected], package: Package) -> Finding:
    """
    Return what the entries of one record that mean a package say of its version.

    What cannot be compared is unknown, never "not affected".

    Source:
        OSV schema 1.6.7, "Evaluation".
    """
    entries = tuple(affected)
    findings = [
        _of_entry(entry, package, version)
        for entry in entries
        for name, version in names_of(package)
        if name == entry.name and _of_release(entry, package)
    ]
    if not findings:
        others = ", ".join(sorted({entry.ecosystem for entry in entries}))
        return Finding(Answer.UNKNOWN, package.version, f"the record is about {others}")
    return _decisive(findings)


def _decisive(findings: Sequence[Finding]) -> Finding:
    """Return the first of the gravest answer."""
    for answer in (Answer.AFFECTED, Answer.UNKNOWN, Answer.FIXED):
        for finding in findings:
            if finding.answer is answer:
                return finding
    return findings[0]


def _of_entry(entry: Affected, package: Package, version: str) -> Finding:
    if version in entry.versions:
        return Finding(Answer.AFFECTED, version, f"version {version} is listed")
    ranges = [one for one in entry.ranges if one.kind != "GIT"]
    if not ranges:
        if entry.versions and not entry.ranges:
            return Finding(Answer.NOT_YET, version, f"version {version} is not among those that are listed")
        return Finding(Answer.UNKNOWN, version, "the record has no versions to compare with")
    if not version:
        return Finding(Answer.UNKNOWN, version, f"{package.name} has no version")
    try:
        findings = [_of_range(one, package.ecosystem, version) for one in ranges]
    except VersionError as error:
        return Finding(Answer.UNKNOWN, version, str(error))
    return _decisive(findings)


def _of_range(line: Range, ecosystem: Ecosystem, version: str) -> Finding:
    """Return what one line of versions says: the last event at or before the version decides."""
    if not any(kind == "introduced" for kind, _ in line.events):
        return Finding(Answer.UNKNOWN, version, "a range without a beginning")
    vulnerable, reason = False, ""
    for kind, at in _ordered(line, ecosystem):
        reached = at == "0" or not older(ecosystem, version, at)
        if kind == "introduced" and reached:
            vulnerable = True
            reason = "from the first version on" if at == "0" else f"from {at} on"
        elif kind == "fixed" and reached and vulnerable:
            vulnerable, reason = False, f"fixed in {at}"
        elif kind == "last_affected" and at != "0" and older(ecosystem, at, version) and vulnerable:
            vulnerable, reason = False, f"last affected version is {at}"
        elif kind == "limit" and at != "*" and reached and vulnerable:
            return Finding(Answer.UNKNOWN, version, f"not examined from {at} on")
    if vulnerable:
        return Finding(Answer.AFFECTED, version, f"version {version}: affected {reason}")
    if reason:
        return Finding(Answer.FIXED, version, f"version {version}: {reason}")
    first = next(at for kind, at in _ordered(line, ecosystem) if kind == "introduced")
    return Finding(Answer.NOT_YET, version, f"version {version}: introduced in {first}")


def _ordered(line: Range, ecosystem: Ecosystem) -> list[tuple[str, str]]:
    """Return the events by version; at one version what is introduced comes last, as OSV has it."""

    def compare(first: tuple[str, str], second: tuple[str, str]) -> int:
        low, high = _first(first[1]), _first(second[1])
        if low or high:
            return high - low
        if first[1] == second[1]:
            return (first[0] == "introduced") - (second[0] == "introduced")
        if older(ecosystem, first[1], second[1]):
            return -1
        return int(older(ecosystem, second[1], first[1]))

    return sorted((event for event in line.events if event[1] != "*"), key=cmp_to_key(compare))


def _first(version: str) -> bool:
    return version == "0"
