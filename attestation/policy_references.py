"""
Where does a policy take reference values from a file?

A policy is pure text: it names files, and whoever loads it reads them and hands over what they say.  In the
place of each name then stand the values, as if they had been written there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from attestation.policy_file import Problems
from attestation.reference_values import Entry, Manifest

Path = tuple[str, ...]
_DEEPEST = 8  # no key of a policy stands deeper
_FILE, _KEY, _SELECT = "file", "key", "select"


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a policy names, and the file of the key that has to have signed it, if it names one."""

    file: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """
    A file of reference values that has been read.

    Attributes:
        manifest: What it says.
        sha256: Digest of the file, hexadecimal.
    """

    manifest: Manifest
    sha256: str


@dataclass(frozen=True, slots=True)
class Used:
    """A file that an appraisal went by: its name and digest, and when it counts."""

    file: str
    sha256: str
    not_before: datetime | None
    not_after: datetime | None


def named(values: Mapping[str, object]) -> tuple[Named, ...]:
    """Return the files that a policy names, each once; what is no name in it is not one here either."""
    found = (_named(table) for _, table in _places(values, ()))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def resolved(
    values: Mapping[str, object], references: Mapping[Named, Reference], problems: Problems
) -> tuple[dict[str, object], tuple[Used, ...]]:
    """
    Return the policy with values in the places of names, and the files that it goes by.

    Problems are left in `problems`: a name that is none, a file that was not handed over, one that is signed
    and whose key the policy does not name, one with rules of its own, and one without a fitting value.
    """
    used: dict[Named, Used] = {}
    found = _copy(values)
    for path, table in _places(values, ()):
        name, key = _named(table), ".".join(path)
        if name is None:
            problems.add(key, "a name with other keys", "file, and if needed key and select")
            continue
        if name not in references:
            problems.add(key, f"{name.file}, which was not supplied", "a file that can be read")
            continue
        reference = references[name]
        manifest = reference.manifest
        used[name] = Used(name.file, reference.sha256, manifest.not_before, manifest.not_after)
        _put(found, path, _fitting(path, table, str(values.get("tee")), manifest, problems))
    return found, tuple(used.values())


def _fitting(
    path: Path, table: Mapping[str, object], tee: str, manifest: Manifest, problems: Problems
) -> object:
    """Return the values for one place of a policy; "unchecked" would be wrong where there are none."""
    key, register = ".".join(path), path[-1]
    if manifest.signer is not None and not manifest.verified:
        problems.add(key, "a signed manifest", f'{_KEY} = "FILE", the key that has to have signed it')
    if manifest.profile is not None:
        problems.add(key, f"a manifest of profile {manifest.profile}", "one without rules of its own")
    select = table.get(_SELECT, {})
    chosen = [entry for entry in manifest.entries if _fits(entry, tee, register, select)]
    if not chosen:
        problems.add(key, f"no value of {tee} for {register} that is selected", "at least one")
        return None
    return [{"digest": entry.digest.hex(), "label": entry.label} for entry in chosen]


def _fits(entry: Entry, tee: str, register: str, select: object) -> bool:
    if (entry.tee, entry.register) != (tee, register) or not isinstance(select, Mapping):
        return False
    return all(
        name in entry.environment and entry.environment[name] == value for name, value in select.items()
    )


def _named(table: Mapping[str, object]) -> Named | None:
    file, key = table[_FILE], table.get(_KEY)
    well_formed = set(table) <= {_FILE, _KEY, _SELECT} and isinstance(table.get(_SELECT, {}), Mapping)
    if not well_formed or not isinstance(file, str) or not isinstance(key, str | None):
        return None
    return Named(file, key)


def _places(values: Mapping[str, object], prefix: Path) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Yield the keys that lead to every table that names a file, and the table."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if _FILE in value:
                yield (*prefix, key), value
            elif len(prefix) < _DEEPEST:
                yield from _places(value, (*prefix, key))


def _copy(values: Mapping[str, object], depth: int = 0) -> dict[str, object]:
    return {
        key: _copy(value, depth + 1) if isinstance(value, Mapping) and depth <= _DEEPEST else value
        for key, value in values.items()
    }


def _put(values: dict[str, object], path: Path, value: object) -> None:
    place = values
    for table in path[:-1]:
        inner = place[table]
        if isinstance(inner, dict):
            place = inner
    place[path[-1]] = value
