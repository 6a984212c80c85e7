"""Which packages the files of an image belong to, as its manifest records it: names and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class PackageVersion:
    """
    One package at one version; what is not known of it is "".

    Attributes:
        ecosystem: Who gave it its name: the type of its package URL.
        name: Its name there.
        version: As that ecosystem writes it.
        arch: As the distribution calls it.
        distribution: Identifier of the distribution.
        release: Its version.
    """

    ecosystem: str
    name: str
    version: str
    arch: str = ""
    distribution: str = ""
    release: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when it is updated."""
        return (self.ecosystem, self.name, self.arch)

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Ownership:
    """
    Whose the files of an image are.

    Attributes:
        owners: By path the packages that installed a file; nothing for files that are nobody's.
        altered: Paths of files that differ from what their packages installed.
        built_in: By path the packages whose code is in a file, by its own account: modules of Go, crates.
    """

    owners: Mapping[str, tuple[PackageVersion, ...]] = field(default_factory=dict)
    altered: frozenset[str] = frozenset()
    built_in: Mapping[str, tuple[PackageVersion, ...]] = field(default_factory=dict)
