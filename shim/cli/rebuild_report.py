"""What `shim rebuild` says: for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from images.differences import Change
from shim.errors import one_line

if TYPE_CHECKING:
    from images.buildinfo import Written
    from images.differences import Differences, FileChange
    from images.file_table import Item
    from images.manifest import Manifest
    from shim.cli.rebuild import Again
    from shim.profile.diff import SyscallChange

# Of each kind; --json has all.
_SHOWN = 20
_MARKS = {"added": "+", "widened": "+", "narrowed": "-", "removed": "-"}


def report(again: Again, *, as_json: bool) -> tuple[str, bool]:
    """
    Return what differs between an image and the same build now, as text, and whether it is the same.

    Raises:
        ProfileError: they are for different architectures.
    """
    from images.differences import differences, same

    before = (again.before.info.manifest, again.before.info.written)
    after = (again.image.manifest, None if again.packed is None else again.packed.written)
    found = differences(before, after, again.build.launched_profile())
    equal = same(before, after)
    if as_json:
        return json.dumps(_value(again.before.where, before, after, found, equal=equal), indent=2), equal
    return "\n".join(map(one_line, _lines(again.before.where, after, found, equal=equal))), equal


Made = tuple["Manifest", "Written | None"]


def _lines(where: str, after: Made, found: Differences, *, equal: bool) -> Iterator[str]:
    digest = _digest(after)
    if equal:
        yield f"{where}: the same bytes, {digest}"
        return
    yield f"{where}: differs, now {digest}"
    yield from _part("packages", [f"{one.name} {_arrow(one)}" for one in found.packages])
    yield from _part("files", [_file(one) for one in found.files])
    yield from _part("syscalls", [_call(one) for one in found.syscalls] or ["the same as before"])
    yield from _part("inputs", [f"{one.name} {_arrow(_short(one))}" for one in found.inputs])
    yield from _part("measurement", [f"{one.name} {_arrow(one)}" for one in found.measurements])
    yield from _part("bytes", [f"{one.name} {_arrow(one)} ({_growth(one)})" for one in found.sizes])
    yield from _part("made by", [f"{one.name} {_arrow(one)}" for one in found.made_by])
    yield from _part("manifest", [f"{name} is another" for name in found.others])
    if not found:
        yield "  in nothing that is recorded: another compressor of the same name, or an altered record"


def _part(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"  and {len(lines) - _SHOWN} more, which --json has"


def _arrow(one: Change) -> str:
    return f"{one.before or 'none'} -> {one.after or 'none'}"


def _short(one: Change) -> Change:
    """Return a change of digests by their beginnings."""
    return Change(one.name, one.before[:16], one.after[:16])


def _growth(one: Change) -> str:
    return f"{int(one.after) - int(one.before):+}"


def _file(one: FileChange) -> str:
    owners = ", ".join(map(str, one.packages))
    changed = one.after is not None and one.after.altered
    altered = ", differs from what its package installed" if changed else ""
    ways = f" ({', '.join(one.what)})" if one.what not in ((), ("contents",)) else ""
    before, after = one.before.size if one.before else 0, one.after.size if one.after else 0
    size = f", {after - before:+} bytes" if before != after else ""
    return f"{one.kind} {one.path}{ways}{size}" + (f": {owners}{altered}" if owners else "")


def _call(one: SyscallChange) -> str:
    where = "" if one.everywhere else f" in {', '.join(one.phases)}"
    why = "no code that can run makes it any more" if one.kind == "removed" else _why(one)
    kind = "" if one.kind in ("added", "removed") else f" {one.kind}"
    return f"{_MARKS[one.kind]} {one.name}{kind}{where}: {why}"


def _why(one: SyscallChange) -> str:
    rule = one.after
    if rule is None:
        return "not known"
    place = f", in {rule.sites[0].object}" if rule.sites else ""
    return " > ".join(rule.why[-3:]) + place


def _digest(made: Made) -> str:
    from images.manifest import dumps
    from shim.canonical import sha256_hex

    manifest, written = made
    return f"sha256:{sha256_hex(dumps(manifest)) if written is None else written.sha256}"


def _value(where: str, before: Made, after: Made, found: Differences, *, equal: bool) -> dict[str, Any]:
    return {
        "image": where,
        "same": equal,
        "before": _digest(before),
        "after": _digest(after),
        "packages": _changes(found.packages),
        "files": [
            {
                "path": one.path,
                "change": one.kind,
                "what": list(one.what),
                "packages": [{"name": owner.name, "version": owner.version} for owner in one.packages],
                "altered": one.after is not None and one.after.altered,
                "before": _item(one.before),
                "after": _item(one.after),
            }
            for one in found.files
        ],
        "syscalls": [
            {
                "name": one.name,
                "change": one.kind,
                "phases": list(one.phases),
                "why": list(one.after.why) if one.after is not None else [],
                "objects": sorted({site.object for site in one.after.sites}) if one.after is not None else [],
            }
            for one in found.syscalls
        ],
        "inputs": _changes(found.inputs),
        "measurement": _changes(found.measurements),
        "bytes": [
            {**one, "before": int(one["before"]), "after": int(one["after"])} for one in _changes(found.sizes)
        ],
        "made_by": _changes(found.made_by),
        "manifest": list(found.others),
    }


def _changes(changes: Iterable[Change]) -> list[dict[str, str]]:
    return [{"name": one.name, "before": one.before, "after": one.after} for one in changes]


def _item(item: Item | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "kind": str(item.kind),
        "mode": f"{item.mode:04o}",
        "size": item.size,
        "sha256": item.sha256,
        "target": item.target,
    }
