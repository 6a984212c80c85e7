"""
Records of vulnerabilities as OSV has them: which versions of which packages, and which functions.

A record that cannot be read is an error: one that is left out would look like one that does not apply.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from images.sbom.errors import VulnerabilityRecordError

SOURCE = "OSV schema 1.6.7"
MAX_BYTES = 256 << 20
_EVENTS = ("introduced", "fixed", "last_affected", "limit")


@dataclass(frozen=True, slots=True)
class Range:
    """
    One line of versions.

    Attributes:
        kind: "SEMVER", "ECOSYSTEM" or "GIT".
        events: (introduced, fixed, last_affected or limit; the version at which), as they stand.
    """

    kind: str
    events: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Symbols:
    """
    Functions that are vulnerable.

    Attributes:
        package: Import path of the package in Go, else "".
        names: In Go "Function" or "Type.Method", else as the record has them.
    """

    package: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """
    What a record says of one package.

    Attributes:
        ecosystem: Such as "Debian:12".
        name: Of the package there; of the source package for distributions.
        ranges: Versions by ranges.
        versions: Versions one by one.
        symbols: What of it is vulnerable; none if the record does not say it for all of the package.
        binaries: Names of the binary packages that have it, if the record says which.
        files: Absolute paths of the files that have it, if the record says which.
    """

    ecosystem: str
    name: str
    ranges: tuple[Range, ...]
    versions: tuple[str, ...]
    symbols: tuple[Symbols, ...]
    binaries: frozenset[str]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Record:
    """One vulnerability."""

    identifier: str
    aliases: tuple[str, ...]
    summary: str
    withdrawn: str
    affected: tuple[Affected, ...]


def parse_records(data: bytes, where: str) -> tuple[Record, ...]:
    """
    Return the records of a file, in order of their identifiers, each once.

    A file is one record, an array of them, an object with them under "vulns", or one record for each line.

    Raises:
        VulnerabilityRecordError: it is none of these, a record lacks something or has another type, or two
            differ under one identifier.

    Source:
        OSV schema 1.6.7; `ecosystem_specific` as the databases of Go, Rust and Ubuntu write it.
    """
    if len(data) > MAX_BYTES:
        raise VulnerabilityRecordError(where, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    found: dict[str, Record] = {}
    for place, value in _values(data, where):
        record = _record(value, place)
        if found.setdefault(record.identifier, record) != record:
            raise VulnerabilityRecordError(place, f"another record {record.identifier}", "each one once")
    return tuple(found[identifier] for identifier in sorted(found))


def _values(data: bytes, where: str) -> Iterator[tuple[str, Any]]:
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) < 2:
            raise VulnerabilityRecordError(where, "no JSON", "OSV records", SOURCE) from error
        for number, line in enumerate(lines, 1):
            try:
                yield f"{where}:{number}", json.loads(line)
            except (ValueError, RecursionError) as line_error:
                raise VulnerabilityRecordError(
                    f"{where}:{number}", "no JSON", "a record", SOURCE
                ) from line_error
        return
    if isinstance(document, dict) and "vulns" in document:
        document = document["vulns"]
    if isinstance(document, list):
        for number, value in enumerate(document):
            yield f"{where}[{number}]", value
    else:
        yield where, document


def _record(value: Any, where: str) -> Record:  # noqa: ANN401  # JSON, as below
    members = _object(value, where)
    identifier = _text(members, "id", where)
    where = f"{where}: {identifier}"
    withdrawn = _text(members, "withdrawn", where) if "withdrawn" in members else ""
    return Record(
        identifier,
        tuple(sorted(_texts(members, "aliases", where))),
        _text(members, "summary", where) if "summary" in members else "",
        withdrawn,
        tuple(
            _affected(one, f"{where}: affected[{number}]")
            for number, one in enumerate(_list(members, "affected", where))
        ),
    )


def _affected(value: Any, where: str) -> Affected:  # noqa: ANN401
    members = _object(value, where)
    package = _object(members.get("package"), f"{where}.package")
    specific = [
        _object(members[name], f"{where}.{name}")
        for name in ("ecosystem_specific", "database_specific")
        if members.get(name) is not None
    ]
    return Affected(
        _text(package, "ecosystem", where),
        _text(package, "name", where),
        tuple(_range(one, where) for one in _list(members, "ranges", where)),
        tuple(_texts(members, "versions", where)),
        tuple(symbols for one in specific for symbols in _symbols(one, where)),
        frozenset(name for one in specific for name in _binaries(one, where)),
        frozenset(path for one in specific for path in _texts(one, "files", where)),
    )


def _range(value: Any, where: str) -> Range:  # noqa: ANN401
    members = _object(value, f"{where}.ranges")
    events = []
    for event in _list(members, "events", where):
        for kind, version in _object(event, f"{where}.ranges.events").items():
            if kind not in _EVENTS or not isinstance(version, str):
                raise VulnerabilityRecordError(
                    f"{where}.ranges.events", f"{kind}: {version!r}", f"one of {', '.join(_EVENTS)}", SOURCE
                )
            events.append((kind, version))
    return Range(_text(members, "type", where), tuple(events))


def _symbols(specific: dict[str, Any], where: str) -> Iterator[Symbols]:
    """Yield the functions that are named, nothing where for a part of the package none are."""
    imports = [_object(one, f"{where}: imports") for one in _list(specific, "imports", where)]
    if imports and all(one.get("symbols") for one in imports):  # without symbols all of a package is meant
        for one in imports:
            yield Symbols(_text(one, "path", where), tuple(_texts(one, "symbols", where)))
    crates = specific.get("affects")
    functions = _texts(_object(crates, f"{where}: affects"), "functions", where) if crates is not None else []
    named = [*functions, *_texts(specific, "symbols", where)]
    if named:
        yield Symbols("", tuple(named))


def _binaries(specific: dict[str, Any], where: str) -> Iterator[str]:
    """Yield names of binary packages: Ubuntu writes {"binary_name": ...}, before 2025 {name: version}."""
    for one in _list(specific, "binaries", where):
        members = _object(one, f"{where}: binaries")
        if "binary_name" in members:
            yield _text(members, "binary_name", where)
        else:
            yield from members


def _object(value: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise VulnerabilityRecordError(where, type(value).__name__, "an object", SOURCE)
    return value


def _text(members: dict[str, Any], name: str, where: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise VulnerabilityRecordError(f"{where}: {name}", repr(value)[:80], "a text", SOURCE)
    return value


def _list(members: dict[str, Any], name: str, where: str) -> list[Any]:
    value = members.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise VulnerabilityRecordError(f"{where}: {name}", type(value).__name__, "an array", SOURCE)
    return value


def _texts(members: dict[str, Any], name: str, where: str) -> list[str]:
    values = _list(members, name, where)
    if not all(isinstance(value, str) and value for value in values):
        raise VulnerabilityRecordError(f"{where}: {name}", repr(values)[:80], "texts", SOURCE)
    return values
