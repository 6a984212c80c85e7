"""
How does a trace become bytes, and bytes a trace?

Writing is canonical: equal traces give equal bytes.  Reading checks everything at once, as that of profiles
does, and repairs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, get_args

from shim.canonical import JsonValue, canonical_bytes
from shim.profile.conform import conform
from shim.profile.problems import Problems
from shim.profile.profile import AnalysedObject, Arch, Site
from shim.profile.schema import MAX_ITEMS, MAX_TEXT, SAFE_INTEGER, SCHEMA
from shim.profile.trace import (
    TRACE_SCHEMA_VERSION,
    Abi,
    Arguments,
    ForeignCall,
    OtherImage,
    Trace,
    TracedCall,
)
from shim.syscalls import UnknownSyscallError, table

MAX_BYTES: Final = 64 * 1024 * 1024
"""Longer texts are refused unread."""


def _record(description: str, **properties: JsonValue) -> JsonValue:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _list(items: JsonValue, least: int = 0, most: int = MAX_ITEMS) -> JsonValue:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


_INTEGER: Final[JsonValue] = {"$ref": "#/$defs/integer"}
_TEXT: Final[JsonValue] = {"type": "string", "maxLength": MAX_TEXT}
_COUNT: Final[JsonValue] = {"type": "integer", "minimum": 0, "maximum": SAFE_INTEGER}
_NUMBER: Final[JsonValue] = {"type": "integer", "minimum": -(2**31), "maximum": 2**32 - 1}
_SITES: Final[JsonValue] = _list({"$ref": "#/$defs/site"})
_DEFINITIONS: Any = SCHEMA["$defs"]

TRACE_SCHEMA: Final[dict[str, JsonValue]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Syscall trace",
    "$ref": "#/$defs/trace",
    "$defs": {
        "integer": _DEFINITIONS["integer"],
        "site": _DEFINITIONS["site"],
        "object": _record(
            "An ELF file that made a call; sha256 is empty if it was gone.",
            path=_TEXT,
            sha256={"type": "string", "pattern": "^(?:[0-9a-f]{64})?$"},
            build_id={"type": "string", "pattern": "^(?:[0-9a-f]{2}){0,64}$"},
        ),
        "call": _record(
            "A syscall as it was made; arguments: each different six, null where one was not kept.",
            number=_COUNT,
            name=_TEXT,
            count=_COUNT,
            arguments=_list(_list({"anyOf": [{"type": "null"}, _INTEGER]}, 6, 6)),
            arguments_dropped={"type": "boolean"},
            sites=_SITES,
        ),
        "foreign": _record(
            "A call of another ABI, or with a number that has no name.",
            abi={"type": "string", "enum": list(get_args(Abi))},
            number=_NUMBER,
            count=_COUNT,
            sites=_SITES,
        ),
        "other": _record(
            "What descendants called while they executed another file.",
            path=_TEXT,
            count=_COUNT,
            names=_list(_TEXT),
        ),
        "trace": _record(
            "The calls of one program in one or more runs.",
            schema_version={"type": "integer", "enum": [TRACE_SCHEMA_VERSION]},
            arch={"type": "string", "enum": list(get_args(Arch))},
            objects=_list({"$ref": "#/$defs/object"}, least=1),
            calls=_list({"$ref": "#/$defs/call"}),
            foreign=_list({"$ref": "#/$defs/foreign"}),
            others=_list({"$ref": "#/$defs/other"}),
            runs={"type": "integer", "minimum": 1, "maximum": SAFE_INTEGER},
            unseen=_COUNT,
            lost=_COUNT,
            tool_version=_TEXT,
        ),
    },
}


def dumps(trace: Trace) -> bytes:
    """
    Return the canonical JSON of `trace`, UTF-8, without a final newline.

    Raises:
        ProfileFormatError: the trace is one that `loads` would refuse.
    """
    value: dict[str, JsonValue] = {
        "schema_version": TRACE_SCHEMA_VERSION,
        "arch": trace.arch,
        "objects": [asdict(entry) for entry in trace.objects],
        "calls": [_call_value(call) for call in trace.calls],
        "foreign": [{**asdict(call), "sites": _sites_value(call.sites)} for call in trace.foreign],
        "others": [{**asdict(other), "names": list(other.names)} for other in trace.others],
        "runs": trace.runs,
        "unseen": trace.unseen,
        "lost": trace.lost,
        "tool_version": trace.tool_version,
    }
    problems = Problems("trace")
    _check(value, problems)
    problems.raise_if_any()
    return canonical_bytes(value)


def loads(data: bytes, where: str) -> Trace:
    """
    Return the trace that `data` holds; `where` is what errors call it, as a rule the file's name.

    Raises:
        ProfileFormatError: with every fault: not JSON, a departure from `TRACE_SCHEMA`, a number that is not
            its name's, calls that are not in order.

    Not checked:
        That anybody ever ran the program.
    """
    problems = Problems(where)
    value: Any = None
    if len(data) > MAX_BYTES:
        problems.note("", f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    else:
        try:
            value = json.loads(data.decode("utf-8"), object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            problems.note("", str(error), "JSON in UTF-8", "RFC 8259")
    problems.raise_if_any()
    _check(value, problems)
    problems.raise_if_any()
    return Trace(
        arch=value["arch"],
        objects=tuple(AnalysedObject(**entry) for entry in value["objects"]),
        calls=tuple(_call(entry) for entry in value["calls"]),
        foreign=tuple(
            ForeignCall(**{**entry, "sites": _sites(entry["sites"])}) for entry in value["foreign"]
        ),
        others=tuple(OtherImage(**{**entry, "names": tuple(entry["names"])}) for entry in value["others"]),
        runs=value["runs"],
        unseen=value["unseen"],
        lost=value["lost"],
        tool_version=value["tool_version"],
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key that stands twice in one object")
    return keys


def _check(value: Any, problems: Problems) -> None:  # noqa: ANN401  # any JSON value, until it is checked
    conform(value, TRACE_SCHEMA, problems)
    if problems:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        problems.note("", str(error), "text of whole characters", "RFC 8259, section 8.2")
        return
    syscalls = table(value["arch"])
    before = -1
    for position, call in enumerate(value["calls"]):
        here, number = f"calls[{position}]", call["number"]
        if number <= before:
            problems.note(here, f"number {number} after {before}", "ascending numbers, each once")
        before = number
        try:
            want = syscalls.number(call["name"], here)
        except UnknownSyscallError as error:
            problems.note(here, error.found, error.want, error.source)
            continue
        if number != want:
            problems.note(here, f"number {number} for {call['name']}", str(want), f"Linux {syscalls.kernel}")


def _call(value: Mapping[str, Any]) -> TracedCall:
    return TracedCall(
        number=value["number"],
        name=value["name"],
        count=value["count"],
        arguments=tuple(tuple(map(_integer, entry)) for entry in value["arguments"]),
        arguments_dropped=value["arguments_dropped"],
        sites=_sites(value["sites"]),
    )


def _call_value(call: TracedCall) -> JsonValue:
    return {
        "number": call.number,
        "name": call.name,
        "count": call.count,
        "arguments": [_arguments_value(entry) for entry in call.arguments],
        "arguments_dropped": call.arguments_dropped,
        "sites": _sites_value(call.sites),
    }


def _arguments_value(arguments: Arguments) -> JsonValue:
    return [None if value is None else _integer_value(value) for value in arguments]


def _sites(value: Iterable[Mapping[str, Any]]) -> tuple[Site, ...]:
    return tuple(Site(entry["object"], _integer(entry["address"]) or 0, entry["function"]) for entry in value)


def _sites_value(sites: Iterable[Site]) -> list[JsonValue]:
    return [{**asdict(site), "address": _integer_value(site.address)} for site in sites]


def _integer(value: int | str | None) -> int | None:
    return int(value, 16) if isinstance(value, str) else value


def _integer_value(number: int) -> int | str:
    return number if number <= SAFE_INTEGER else f"0x{number:x}"
