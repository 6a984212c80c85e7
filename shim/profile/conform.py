"""
Does a JSON value conform to a schema, and where not?

The part of JSON Schema 2020-12 that the profile's schema uses.  A keyword that is not known here is a mistake
of the schema and raises, so that no rule is ever skipped in silence.  Stricter than the standard in one
point: 1.0 is no integer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shim.profile.problems import Problems

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_ANNOTATIONS = frozenset({"$schema", "$defs", "title", "description"})
_SHOWN = 60
_SOURCE = "profile schema"


@dataclass(frozen=True, slots=True)
class _Place:
    """One value on its path: the document's own schema, the path so far, and where faults go."""

    root: Mapping[str, Any]
    path: str
    problems: Problems

    def inside(self, step: str) -> _Place:
        return _Place(self.root, f"{self.path}{step}", self.problems)


def conform(value: object, schema: Mapping[str, Any], problems: Problems) -> None:
    """
    Note every place where `value` departs from `schema`.

    Raises:
        ValueError: the schema uses a keyword, type or reference that is not known here.
    """
    _conform(value, schema, _Place(schema, "", problems))


def _conform(value: object, schema: Mapping[str, Any], place: _Place) -> None:
    unknown = schema.keys() - _KEYWORDS.keys() - _ANNOTATIONS - {"type"}
    if unknown:
        raise ValueError(f"schema keywords {sorted(unknown)} are not known")
    if "type" in schema and not _has_type(value, schema["type"]):
        place.problems.note(place.path, _shown(value), f"type {schema['type']}", _SOURCE)
        return
    for keyword, check in _KEYWORDS.items():
        if keyword in schema:
            check(value, schema, place)


def _has_type(value: object, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _reference(value: object, schema: Mapping[str, Any], place: _Place) -> None:
    name = schema["$ref"].removeprefix("#/$defs/")
    _conform(value, place.root["$defs"][name], place)


def _any_of(value: object, schema: Mapping[str, Any], place: _Place) -> None:
    """Nothing is noted if one of the schemas takes the value; else one fault, not those of every branch."""
    for candidate in schema["anyOf"]:
        branch = Problems("")
        _conform(value, candidate, _Place(place.root, place.path, branch))
        if not branch:
            return
    place.problems.note(place.path, _shown(value), _wanted(schema, place.root), _SOURCE)


def _wanted(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Return one phrase for what a schema of alternatives takes."""
    if "description" in schema:
        return str(schema["description"]).rstrip(".")
    if "$ref" in schema:
        return _wanted(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return " or ".join(_wanted(candidate, root) for candidate in schema["anyOf"])
    return str(schema["type"])


def _required(value: Any, schema: Mapping[str, Any], place: _Place) -> None:  # noqa: ANN401  # any JSON value
    for key in schema["required"]:
        if key not in value:
            place.problems.note(place.path, f"no {key!r}", "every key of the schema", _SOURCE)


def _properties(value: Any, schema: Mapping[str, Any], place: _Place) -> None:  # noqa: ANN401
    known = schema["properties"]
    for key, entry in value.items():
        if key in known:
            _conform(entry, known[key], place.inside(f".{key}" if place.path else key))
        elif schema["additionalProperties"] is False:
            place.problems.note(place.path, f"unknown key {_shown(key)}", "only the schema's", _SOURCE)


def _items(value: Any, schema: Mapping[str, Any], place: _Place) -> None:  # noqa: ANN401
    for position, entry in enumerate(value):
        _conform(entry, schema["items"], place.inside(f"[{position}]"))


def _matches(value: str, pattern: str) -> bool:
    """Match the whole text: in Python, unlike the standard, a newline may follow a closing `$`."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError(f"pattern {pattern} is not anchored")
    return re.fullmatch(pattern[1:-1], value) is not None


def _bound(wording: str, holds: Callable[[Any, Any], bool], keyword: str) -> Callable[..., None]:
    """Return the check of a keyword that is one comparison of the value with a constant."""

    def check(value: object, schema: Mapping[str, Any], place: _Place) -> None:
        limit = schema[keyword]
        if not holds(value, limit):
            place.problems.note(place.path, _shown(value), f"{wording} {limit}", _SOURCE)

    return check


_KEYWORDS: dict[str, Callable[..., None]] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "required": _required,
    "properties": _properties,
    "additionalProperties": lambda _value, _schema, _place: None,  # read together with "properties"
    "items": _items,
    "enum": _bound("one of", lambda value, choices: value in choices, "enum"),
    "pattern": _bound("text like", _matches, "pattern"),
    "minimum": _bound("at least", lambda value, limit: value >= limit, "minimum"),
    "maximum": _bound("at most", lambda value, limit: value <= limit, "maximum"),
    "minLength": _bound("a length of at least", lambda value, limit: len(value) >= limit, "minLength"),
    "maxLength": _bound("a length of at most", lambda value, limit: len(value) <= limit, "maxLength"),
    "minItems": _bound("entries numbering at least", lambda value, limit: len(value) >= limit, "minItems"),
    "maxItems": _bound("entries numbering at most", lambda value, limit: len(value) <= limit, "maxItems"),
}
