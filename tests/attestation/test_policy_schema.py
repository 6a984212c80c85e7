"""The published schema says what the readers do: it accepts whatever they accept, and refuses most of the rest."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attestation import kinds, policy_example
from attestation.errors import PolicyError
from attestation.policy import load
from attestation.policy_schema import schema
from tests.fakes.policies import toml

jsonschema = pytest.importorskip("jsonschema")
PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "policy.schema.json"
SCHEMA: dict[str, Any] = json.loads(json.dumps(schema()))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
WRONG = (None, True, -1, 1 << 70, "", "unchecked?", "zz", [], [""], [[]], {}, {"": 1}, 1.5)


def example(tee: str) -> dict[str, Any]:
    return tomllib.loads(policy_example.text(tee))


def paths(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


def changed(values: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    whole = copy.deepcopy(values)
    table = whole
    for key in path[:-1]:
        table = table[key]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return whole


def is_read(values: dict[str, Any]) -> bool:
    try:
        load(toml(values), "policy.toml")
    except PolicyError:
        return False
    return True


def test_the_published_schema_is_the_code_s() -> None:
    assert json.loads(PUBLISHED.read_text()) == SCHEMA


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("tee", kinds.KINDS)
def test_it_accepts_the_example(tee: str) -> None:
    VALIDATOR.validate(example(tee))


@pytest.mark.parametrize("tee", kinds.KINDS)
def test_it_describes_every_key(tee: str) -> None:
    def undescribed(found: dict[str, Any], path: str) -> Iterator[str]:
        for key, inner in found.get("properties", {}).items():
            if "properties" in inner and "description" not in inner:
                yield from undescribed(inner, f"{path}{key}.")
            elif "description" not in inner and "anyOf" not in inner:
                yield f"{path}{key}"

    assert list(undescribed(SCHEMA["$defs"][tee], "")) == []


@pytest.mark.parametrize("tee", kinds.KINDS)
def test_it_accepts_whatever_is_read(tee: str) -> None:
    values = example(tee)
    accepted = refused = 0
    for path in paths(values):
        for wrong in (*WRONG, "unchecked"):
            one = changed(values, path, wrong)
            if is_read(one):
                accepted += 1
                assert VALIDATOR.is_valid(one), (path, wrong)
            elif not VALIDATOR.is_valid(one):
                refused += 1
    assert accepted > 0
    assert refused > 10 * len(values)


@pytest.mark.parametrize("tee", kinds.KINDS)
@pytest.mark.parametrize("wrong", [None, -1, "?", []])
def test_it_refuses_what_is_not_read_of_one_key(tee: str, wrong: object) -> None:
    values = example(tee)
    for path in paths(values):
        one = changed(values, path, wrong)
        if path[0] in {"pcrs", "tcb"} and wrong is None:
            continue  # what several keys mean together, and tables that may be left out
        assert not is_read(one) or VALIDATOR.is_valid(one), path
        if path != ("tee",):
            assert not VALIDATOR.is_valid(one) or is_read(one), path


def test_it_refuses_another_kind_s_policy() -> None:
    assert not VALIDATOR.is_valid({**example("snp"), "tee": "tdx"})
    assert not VALIDATOR.is_valid({**example("snp"), "tee": "sev"})
