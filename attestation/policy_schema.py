"""
What may stand in a policy file, as a JSON Schema?

The functions that read policies are run once with a section that only takes notes; so the schema cannot say
anything else than they do.

Source:
    JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from attestation import kinds, policy, policy_example
from attestation.policy_file import UNCHECKED, Checked, Problems, Reader, Schema, Section
from shim.canonical import JsonValue

T = TypeVar("T")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, JsonValue]:
    """
    Return the schema of a policy for evidence of any kind.

    It accepts whatever `attestation.policy.load` does.

    Not checked:
        What several keys mean together: registers of a TPM that leave open what was booted, or a VMPL that
        is not the paravisor's.
    """
    names: list[JsonValue] = list(kinds.KINDS)
    return {
        "$schema": DIALECT,
        "title": "Appraisal policy",
        "type": "object",
        "properties": {"tee": {"enum": names, "description": "the kind of evidence"}},
        "required": ["tee"],
        "allOf": [
            {"if": {"properties": {"tee": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}}
            for name in kinds.KINDS
        ],
        "$defs": {name: _of_kind(name) for name in kinds.KINDS},
    }


def _of_kind(tee: str) -> Schema:
    notes = _Notes("", None, Problems("", {}))
    notes.need("tee", Reader(str, {"const": tee}), tee)
    policy.read(notes, tee)
    return notes.schema(policy_example.comments(policy_example.text(tee)))


@dataclass(slots=True)
class _Notes(Section):
    """A table that has nothing, and remembers what was asked of it."""

    properties: dict[str, Schema] = field(default_factory=dict)
    tables: dict[str, _Notes] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)

    def need(self, key: str, reader: Reader[T], instead: T) -> T:
        self.properties[key] = reader.schema
        return instead

    def take(self, key: str, reader: Reader[T]) -> Checked[T]:
        self.properties[key] = _or_unchecked(reader.schema)
        return UNCHECKED

    def section(self, key: str) -> Section:
        return self.tables.setdefault(key, _Notes(self._path(key), None, self.problems))

    def take_section(self, key: str) -> Checked[Section]:
        self.free.add(key)
        return self.section(key)

    def optional_section(self, key: str) -> Section | None:
        self.optional.add(key)
        return self.section(key)

    def close(self) -> None:
        """Nothing is unknown: whatever is asked for may stand there."""

    def schema(self, comments: Mapping[str, str]) -> dict[str, JsonValue]:
        """Return what was asked for, with what `comments` say of each key."""
        properties: dict[str, JsonValue] = {}
        for key, found in self.properties.items():
            properties[key] = _described(found, comments.get(self._path(key)))
        for key, notes in self.tables.items():
            found = notes.schema(comments)
            whole = _or_unchecked(found) if key in self.free else found
            properties[key] = _described(whole, comments.get(self._path(key)))
        required: list[JsonValue] = [key for key in properties if key not in self.optional]
        return {
            "type": "object",
            "properties": properties,
            "minProperties": 1,
            "required": required,
            "additionalProperties": False,
        }


def _or_unchecked(found: Schema) -> Schema:
    return {"anyOf": [found, {"const": UNCHECKED.value}]}


def _described(found: Schema, comment: str | None) -> Schema:
    return found if comment is None else {"description": comment, **found}
