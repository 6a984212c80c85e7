"""
In what does an image that was built again differ from the first?

From two manifests, and from how both were written.  What differs is named by what a person can act on:
packages, files, calls, what hardware will say; and nothing that differs is left unnamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from attestation.reference_values import Entry
from images.allowed import profile_of
from images.buildinfo import Written
from images.file_table import Item
from images.manifest import Manifest, dumps
from images.ownership import PackageVersion
from shim.profile.diff import SyscallChange, diff
from shim.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was `before` and is `after`; "" where it was or is not there."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """
    One path that is not what it was.

    Attributes:
        path: In the image.
        before, after: What stands there; None for nothing.
        what: In which ways it changed: "contents", "kind", "mode", "target", "package" for another owner or
            another state of it, "reason"; none of these where it was added or removed.
    """

    path: str
    before: Item | None
    after: Item | None
    what: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Whether it was "added", "removed" or "changed"."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def packages(self) -> tuple[PackageVersion, ...]:
        """Whose it is now, or was."""
        one = self.after or self.before
        return () if one is None else one.packages


@dataclass(frozen=True, slots=True)
class Differences:
    """
    Everything in which two images differ.

    Attributes:
        packages: Versions, by the name of the package.
        files: Paths.
        syscalls: What the program may call; with reasons where the new profile has them.
        inputs: Digests of what went in, by what it was used as; those of a boot among them.
        measurements: What hardware says, by kind of evidence and register.
        sizes: Bytes, of all files and of what was written.
        made_by: Versions of the tool and of the compressor.
        others: What else of the manifest is another.
    """

    packages: tuple[Change, ...]
    files: tuple[FileChange, ...]
    syscalls: tuple[SyscallChange, ...]
    inputs: tuple[Change, ...]
    measurements: tuple[Change, ...]
    sizes: tuple[Change, ...]
    made_by: tuple[Change, ...]
    others: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))


def differences(
    before: tuple[Manifest, Written | None], after: tuple[Manifest, Written | None], profile: Profile
) -> Differences:
    """
    Return in what `after` differs from `before`.

    Args:
        before: The manifest of an image and how it was written; None where nobody knows that.
        after: Those of the one that was built again.
        profile: The one of `after`, with its reasons.

    Raises:
        ProfileError: they are for different architectures.
    """
    old, new = before[0], after[0]
    old_written, new_written = before[1], after[1]
    written = old_written is not None and new_written is not None
    syscalls = diff(profile_of(old.arch, old.phases), profile).syscalls
    return Differences(
        packages=tuple(_packages(old.packages, new.packages)),
        files=tuple(_files(old.items, new.items)),
        syscalls=syscalls,
        inputs=tuple(_inputs(old, old_written, new, new_written if written else None)),
        measurements=tuple(_measurements(old_written, new_written)) if written else (),
        sizes=tuple(_sizes(old, old_written, new, new_written)),
        made_by=tuple(_made_by(old, old_written, new, new_written)),
        others=(*_others(old, new), *(("phases",) if old.phases != new.phases and not syscalls else ())),
    )


def same(before: tuple[Manifest, Written | None], after: tuple[Manifest, Written | None]) -> bool:
    """Whether two images are the same bytes; where nobody knows how they were written, the same tree."""
    if before[1] is not None and after[1] is not None:
        return before[1].sha256 == after[1].sha256
    return dumps(before[0]) == dumps(after[0])


def _packages(before: Iterable[PackageVersion], after: Iterable[PackageVersion]) -> Iterator[Change]:
    old, new = _versions(before), _versions(after)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Change(key[1], old.get(key, ""), new.get(key, ""))


def _versions(packages: Iterable[PackageVersion]) -> dict[tuple[str, str, str], str]:
    """Return the version of each package; several where an image has several."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in packages:
        found.setdefault(one.key, []).append(one.version)
    return {key: ", ".join(sorted(versions)) for key, versions in found.items()}


def _files(before: Iterable[Item], after: Iterable[Item]) -> Iterator[FileChange]:
    old, new = {item.path: item for item in before}, {item.path: item for item in after}
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one is None or other is None:
            yield FileChange(path, one, other)
        elif ways := tuple(_ways(one, other)):
            yield FileChange(path, one, other, ways)


def _ways(one: Item, other: Item) -> Iterator[str]:
    if one.kind is not other.kind:
        yield "kind"
    if (one.sha256, one.size) != (other.sha256, other.size):
        yield "contents"
    if one.mode != other.mode:
        yield "mode"
    if one.target != other.target:
        yield "target"
    if (_whose(one), one.altered) != (_whose(other), other.altered):
        yield "package"
    if one.reason != other.reason:
        yield "reason"


def _whose(item: Item) -> list[list[PackageVersion]]:
    """Return what a file belongs to, at whatever version: versions are named once, with their packages."""
    return [[replace(one, version="") for one in some] for some in (item.packages, item.built_in)]


def _inputs(
    old: Manifest, old_written: Written | None, new: Manifest, new_written: Written | None
) -> Iterator[Change]:
    before, after = _digests(old, old_written if new_written else None), _digests(new, new_written)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name, ""), after.get(name, ""))


def _digests(manifest: Manifest, written: Written | None) -> dict[str, str]:
    found = {one.name: one.sha256 for one in manifest.inputs}
    return found | {one.name: one.sha256 for one in (written.boot if written is not None else ())}


def _measurements(old: Written | None, new: Written | None) -> Iterator[Change]:
    before, after = (_registers(() if one is None else one.expected) for one in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name, ""), after.get(name, ""))


def _registers(entries: Iterable[Entry]) -> dict[str, str]:
    """Return digests by their register, and by what decides it, but not by digests of inputs."""
    found = {}
    for one in entries:
        state = "".join(
            f", {name} {value}" for name, value in sorted(one.environment.items()) if name != "firmware"
        )
        found[f"{one.tee} {one.register}{state}"] = f"{one.algorithm}:{one.digest.hex()}"
    return found


def _sizes(
    old: Manifest, old_written: Written | None, new: Manifest, new_written: Written | None
) -> Iterator[Change]:
    before, after = (sum(item.size for item in one.items) for one in (old, new))
    if before != after:
        yield Change("files", str(before), str(after))
    if old_written is not None and new_written is not None and old_written.size != new_written.size:
        yield Change(old_written.form, str(old_written.size), str(new_written.size))


def _made_by(
    old: Manifest, old_written: Written | None, new: Manifest, new_written: Written | None
) -> Iterator[Change]:
    if old.tool_version != new.tool_version:
        yield Change("tee-shim", old.tool_version, new.tool_version)
    if old_written is not None and new_written is not None:
        before, after = old_written.compressor, new_written.compressor
        if before != after:
            yield Change("compressor", before, after)


def _others(old: Manifest, new: Manifest) -> Iterator[str]:
    """Yield the names of what else differs; a plan that does is a file that does."""
    compared = {"inputs", "items", "phases", "tool_version", "plan"}
    for one in fields(Manifest):
        if one.name not in compared and getattr(old, one.name) != getattr(new, one.name):
            yield one.name
