"""
What does the JSON of a profile look like?

`SCHEMA` is JSON Schema 2020-12; docs/profile.schema.json is the same for other tools.  The reader checks
against this very object (shim.profile.conform), so that the published schema cannot differ from what is
accepted.
"""

from __future__ import annotations

from typing import get_args

from shim.canonical import JsonValue
from shim.profile.profile import SCHEMA_VERSION, Arch, Operator

SAFE_INTEGER = 2**53 - 1
"""The largest integer that all JSON readers agree on: RFC 8785, section 3.2.2.3."""

BIG_INTEGER = "^0x(?:[2-9a-f][0-9a-f]{13}|[1-9a-f][0-9a-f]{14,15})$"
"""The hexadecimal spelling of 2**53 to 2**64 - 1, the only one that is accepted for those."""

MAX_TEXT = 4096
"""Characters of a path, a function's name or a reason."""

MAX_ITEMS = 1_000_000
"""Entries of one list."""


def _record(description: str, **properties: JsonValue) -> JsonValue:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _list(items: JsonValue, least: int = 0) -> JsonValue:
    return {"type": "array", "items": items, "minItems": least, "maxItems": MAX_ITEMS}


def _ref(name: str) -> JsonValue:
    return {"$ref": f"#/$defs/{name}"}


_TEXT: JsonValue = {"type": "string", "maxLength": MAX_TEXT}
_NAME: JsonValue = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}

_CONDITION = _record(
    "One unsigned comparison of one argument, all 64 bits; masked_eq: argument & mask == value.",
    index={"type": "integer", "minimum": 0, "maximum": 5},
    operator={"type": "string", "enum": list(get_args(Operator))},
    value=_ref("integer"),
    mask=_ref("integer"),
)
_SITE = _record(
    "An instruction that enters the kernel; address as in the object's file.",
    object=_NAME,
    address=_ref("integer"),
    function=_TEXT,
)
_UNRESOLVED = _record(
    "A place whose effect the analysis could not bound, and why.",
    object=_NAME,
    address=_ref("integer"),
    function=_TEXT,
    reason=_NAME,
)
_OBJECT = _record(
    "An ELF file that was analysed.",
    path=_NAME,
    sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    build_id={"type": "string", "pattern": "^(?:[0-9a-f]{2}){0,64}$"},
)
_SYSCALL = _record(
    "An allowed syscall; conditions: all of at least one list hold, no list at all means always.",
    number={"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    name=_NAME,
    conditions=_list(_list(_ref("condition"))),
    sites=_list(_ref("site")),
    why=_list(_TEXT),
)
_PHASE = _record(
    "A stretch of the program's life; boundary null is the program's first instruction.",
    name=_NAME,
    boundary={"anyOf": [{"type": "null"}, _ref("integer")]},
    syscalls=_list(_ref("syscall")),
)

_PROFILE: JsonValue = _record(
    "What one program may ask of the kernel.",
    schema_version={"type": "integer", "enum": [SCHEMA_VERSION]},
    arch={"type": "string", "enum": list(get_args(Arch))},
    complete={"type": "boolean", "description": "true if unresolved and foreign_abi are empty"},
    tool_version=_TEXT,
    objects=_list(_ref("object"), least=1),
    phases=_list(_ref("phase"), least=1),
    unresolved=_list(_ref("unresolved")),
    foreign_abi=_list(_ref("unresolved")),
    assumptions=_list(_NAME),
)

SCHEMA: dict[str, JsonValue] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Syscall profile",
    "$ref": "#/$defs/profile",
    "$defs": {
        "profile": _PROFILE,
        "phase": _PHASE,
        "syscall": _SYSCALL,
        "condition": _CONDITION,
        "site": _SITE,
        "unresolved": _UNRESOLVED,
        "object": _OBJECT,
        "integer": {
            "description": "0 to 2**64 - 1; from 2**53 on as a hexadecimal string.",
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": SAFE_INTEGER},
                {"type": "string", "pattern": BIG_INTEGER},
            ],
        },
    },
}
