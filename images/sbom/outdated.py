"""
For which packages of a bill of materials does the distribution have newer versions?

What cannot be compared is told apart from what is current.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cmp_to_key

from packageurl import PackageURL

from images.packages.apt_lists import Candidate, Release, candidates, releases
from images.packages.errors import AptListsError
from images.packages.package import Ecosystem
from images.packages.versions import older
from shim.elf.files import FileSource


@dataclass(frozen=True, slots=True, order=True)
class Newer:
    """
    A package of which there is a newer version.

    Attributes:
        name: The package.
        arch: Its architecture.
        ours: The version in the bill of materials.
        newest: The newest that can be had.
        security: Whether a newer one came from where security updates come from.
        suite: Where the newest is.
    """

    name: str
    arch: str
    ours: str
    newest: str
    security: bool
    suite: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    All packages, by what is known of them.

    Attributes:
        newer: Those with a newer version.
        current: How many have none.
        unknown: Those that the lists do not have, one line each.
        elsewhere: How many are of ecosystems whose lists apt does not keep.
        age: How old the newest of the lists is.
    """

    newer: tuple[Newer, ...]
    current: int
    unknown: tuple[str, ...]
    elsewhere: int
    age: timedelta


def compare(urls: Iterable[PackageURL], lists: FileSource, now: datetime, max_age: timedelta) -> Comparison:
    """
    Return what the lists of apt have for the packages.

    Versions that apt would not install by itself, such as those of backports, do not count.

    Args:
        urls: Packages.
        lists: The directory with the lists, as root.
        now: The time.
        max_age: How old the newest of the lists may be.

    Raises:
        AptListsError: no lists, none of the packages' distribution, too old ones, or damaged ones; or no
            package that they could have.
        VersionError: a version that is none.

    Not checked:
        Signatures of the lists: apt does that.
    """
    urls = tuple(urls)
    ours = tuple(url for url in urls if url.type == Ecosystem.DEB)
    if not ours:
        raise AptListsError("bill of materials", "no packages of dpkg", "at least one that apt's lists have")
    usable = _usable(releases(lists), ours)
    age = _age(usable, now, max_age)
    known: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates(lists, {url.name for url in ours}, usable):
        known.setdefault((candidate.name, candidate.arch), []).append(candidate)
    newer, unknown, current = [], [], 0
    for url in ours:
        choices = known.get((url.name, _qualifier(url, "arch")))
        if not url.version or not choices:
            unknown.append(f"{url.name} {url.version or ''}".strip())
            continue
        better = [one for one in choices if older(Ecosystem.DEB, url.version, one.version)]
        if better:
            newer.append(_newer(url, better))
        else:
            current += 1
    return Comparison(tuple(sorted(newer)), current, tuple(sorted(unknown)), len(urls) - len(ours), age)


def _newer(url: PackageURL, better: list[Candidate]) -> Newer:
    def order(first: Candidate, second: Candidate) -> int:
        if older(Ecosystem.DEB, first.version, second.version):
            return -1
        return int(older(Ecosystem.DEB, second.version, first.version))

    newest = max(better, key=cmp_to_key(order))
    security = any(one.release.security for one in better)
    return Newer(url.name, newest.arch, url.version or "", newest.version, security, newest.release.suite)


def _usable(found: Collection[Release], urls: Collection[PackageURL]) -> tuple[Release, ...]:
    """Return the parts of archives that apt installs from, without those of other releases."""
    distributions = sorted({(url.namespace or "", _distribution(url)) for url in urls})
    automatic = [release for release in found if release.automatic]
    for origin, version in distributions:
        if not any(_is_of(release, origin, version) for release in automatic):
            have = ", ".join(sorted({f"{one.origin} {one.version}".strip() for one in automatic})) or "none"
            raise AptListsError("lists of apt", f"those of {have}", f"those of {origin} {version}".strip())
    origins = {origin for origin, _ in distributions}
    return tuple(
        release
        for release in automatic
        if release.origin.lower() not in origins
        or any(_is_of(release, origin, version) for origin, version in distributions)
    )


def _is_of(release: Release, origin: str, version: str) -> bool:
    if release.origin.lower() != origin:
        return False
    return not version or re.match(rf"{re.escape(version)}(?:[.-]|$)", release.version) is not None


def _distribution(url: PackageURL) -> str:
    """Return the release that a package URL names: "12" of "debian-12"."""
    return _qualifier(url, "distro").removeprefix(f"{url.namespace}-").removeprefix(str(url.namespace))


def _qualifier(url: PackageURL, name: str) -> str:
    return str(url.qualifiers.get(name, "")) if isinstance(url.qualifiers, dict) else ""


def _age(usable: Collection[Release], now: datetime, max_age: timedelta) -> timedelta:
    """Return how old the newest of the lists is: an update fetches all that there are."""
    for release in usable:
        if release.valid_until is not None and release.valid_until < now:
            found = f"valid until {release.valid_until.isoformat()}"
            raise AptListsError(
                release.prefix, found, f"lists that are valid at {now.isoformat()}: apt update"
            )
    newest = max(usable, key=lambda release: release.date)
    age = now - newest.date
    if age > max_age:
        found = f"made at {newest.date.isoformat()}, {_days(age)} ago"
        raise AptListsError(newest.prefix, found, f"lists of the last {_days(max_age)}: apt update")
    return age


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.1f} days"


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield what is known besides the newer versions, for people."""
    yield f"{comparison.current} current, by lists made {_days(comparison.age)} ago"
    for package in comparison.unknown:
        yield f"not in the lists: {package}"
    if comparison.elsewhere:
        yield f"{comparison.elsewhere} of no distribution, not compared"
