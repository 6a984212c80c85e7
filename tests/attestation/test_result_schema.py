"""The schema that is published for results holds for real ones of every kind, and for nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.errors import AppraisalError
from attestation.verdict import Verdict
from tests import real, vectors
from tests.real import Real

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "attestation-result.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def valid(value: Any) -> bool:  # noqa: ANN401  # whatever it is
    return VALIDATOR.is_valid(value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]


@pytest.mark.parametrize("case", [pytest.param(one, id=one.id) for one in real.load()])
def test_real_results(case: Real) -> None:
    VALIDATOR.validate(json.loads(case.appraise().to_json()))


@pytest.mark.parametrize("case", real.one_of_each())
def test_refusals(case: Real) -> None:
    refused = []
    for evidence, now in ((case.evidence, case.now), (case.evidence[:-7], case.now), (case.evidence, case.now - timedelta(days=9000))):  # fmt: skip
        with pytest.raises(AppraisalError) as caught:
            appraise(evidence, case.endorsements, case.policy(), binding=Exact(b"\xee" * 64), now=now)
        refused.append(json.loads(caught.value.result.to_json()))
        VALIDATOR.validate(refused[-1])
    assert refused[0]["verdict"] == "stale nonce or wrong binding"
    assert (refused[1]["claims"], refused[1]["verdict"]) == (None, "malformed") or case.tee in {"tdx", "sgx"}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))


@pytest.mark.parametrize("case", real.one_of_each())
def test_every_object_is_closed_and_every_member_has_a_type(case: Real) -> None:
    whole = json.loads(case.appraise().to_json())
    for path in leaves(whole):
        changed: Any = copy.deepcopy(whole)
        place = changed
        for name in path[:-1]:
            place = place[name]
        inner = place[path[-1]] if path else changed
        open_by_design = path[-2:] == ("claims", "measurements") or path[-1:] == ("device",)
        if isinstance(inner, dict):
            inner["something new"] = 1
            assert not valid(changed), path
        elif not open_by_design:
            place[path[-1]] = 1.5
            assert not valid(changed), path


@pytest.mark.parametrize("name", SCHEMA["required"])
def test_nothing_is_left_out(name: str) -> None:
    whole = json.loads(real.SIMULATION.appraise().to_json())
    assert valid(whole)
    del whole[name]
    assert not valid(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"simulated": False},
        {"tee": "snp"},
        {"verdict": "malformed"},
        {"claims": None},
        {"evidence_sha256": "00"},
        {"mismatches": [{"field": "x"}]},
        {"unchecked": ["crl", "crl"]},
        {"schema": "attestation-result/2"},
    ],
)
def test_what_contradicts_itself(change: dict[str, object]) -> None:
    assert not valid(json.loads(real.SIMULATION.appraise().to_json()) | change)


@pytest.mark.parametrize("case", vectors.cases("ccel", role="quote"))
def test_a_result_with_an_event_log(case: vectors.Case) -> None:
    found = Real(case.id, "tdx", case.read("quote"), real.SIMULATION.endorsements, real.LONG_AGO, case)
    try:
        result = appraise(
            found.evidence, found.endorsements, found.policy(), binding=None, now=found.now, event_log=case.read("log")
        )  # fmt: skip
    except AppraisalError as error:
        result = error.result
    VALIDATOR.validate(json.loads(result.to_json()))
    assert (result.claims is not None) == ("[True, True, True, True]" in case.expected)
    assert replace(result, unchecked=()).unchecked == ()
