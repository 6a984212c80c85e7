"""Provenance is written as SLSA has it, and read from whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from google.protobuf import json_format
from hypothesis import given, strategies as st
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement as TheirStatement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from images import provenance
from images.provenance import Build, Input
from images.signature import statement
from images.signature.errors import SignatureFormatError
from images.signature.statement import Subject
from tests.fakes.layouts import image_manifest

INPUTS = (
    Input("pkg:deb/debian/redis@7", "11" * 32, "program"),
    Input("", "22" * 32),
    Input("https://example.com/x", ""),
)
BUILD = Build("https://build.example/ci", ("shim", "build", "redis"), INPUTS, "0.1.0")
DIGEST = "ab" * 32
TEXT = provenance.write((Subject("app", DIGEST, {}),), BUILD)


def read(value: object) -> Build:
    return provenance.read(statement.parse(json.dumps(value).encode(), "it"), "it")


def test_it_is_what_the_field_says_it_is() -> None:
    message = json_format.Parse(TEXT, StatementMessage())
    TheirStatement.copy_from_pb(message).validate()
    assert message.predicate_type == "https://slsa.dev/provenance/v1"
    found = json_format.Parse(json.dumps(json.loads(TEXT)["predicate"]), Provenance())
    assert found.run_details.builder.id == BUILD.builder
    assert found.build_definition.build_type == "urn:tee-shim:build:v1"
    dependencies = [(one.uri, dict(one.digest)) for one in found.build_definition.resolved_dependencies]
    assert dependencies == [(one.uri, {"sha256": one.sha256} if one.sha256 else {}) for one in INPUTS]


def test_what_is_written_is_read() -> None:
    assert read(json.loads(TEXT)) == BUILD
    assert provenance.write((Subject("app", DIGEST, {}),), BUILD) == TEXT


def test_that_of_another_builder() -> None:
    value = json.loads(TEXT)
    value["predicate"] = {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"ref": "refs/heads/main"}},
            "resolvedDependencies": [{"uri": "git+https://example.com/x@refs/heads/main", "digest": {"gitCommit": "0" * 40}}],
        },
        "runDetails": {"builder": {"id": "https://github.com/actions/runner"}, "metadata": {}},
    }  # fmt: skip
    found = read(value)
    assert found.builder == "https://github.com/actions/runner"
    assert found.inputs == (Input("git+https://example.com/x@refs/heads/main", ""),)
    assert found.command == ()


@pytest.mark.parametrize(
    "change",
    [
        {"predicateType": "https://slsa.dev/provenance/v0.2"},
        {"predicate": {}},
        {"predicate": {"buildDefinition": {}, "runDetails": {}}},
        {"predicate": {"buildDefinition": {"buildType": "a:b", "externalParameters": {}}, "runDetails": {}}},
        {"predicate": {"buildDefinition": {"buildType": 7, "externalParameters": {}}, "runDetails": {"builder": {"id": "a:b"}}}},
        {"predicate": {"buildDefinition": {"buildType": "a:b"}, "runDetails": {"builder": {"id": "a:b"}}}},
    ],
)  # fmt: skip
def test_what_is_no_provenance(change: Mapping[str, object]) -> None:
    with pytest.raises(SignatureFormatError):
        read({**json.loads(TEXT), **change})


@pytest.mark.parametrize(
    "dependencies",
    [7, [7], [{}], [{"name": "x"}], [{"uri": 7}], [{"digest": {"sha256": "AB" * 32}}], [{"digest": {"sha512": "00"}}],
     [{"uri": "a:b", "digest": {"sha256": "ab"}}], [{"uri": "a:b", "digest": 7}]],
)  # fmt: skip
def test_inputs_that_are_none(dependencies: object) -> None:
    value = json.loads(TEXT)
    value["predicate"]["buildDefinition"]["resolvedDependencies"] = dependencies
    with pytest.raises(SignatureFormatError):
        read(value)


def test_that_of_an_image_of_shim_build() -> None:
    build = provenance.build_of(image_manifest(), "https://build.example/ci", "manifest")
    assert build.command == ("shim", "build", "--compress", "gzip", "/bin/hello", "hello")
    assert build.inputs == (
        Input("urn:tee-shim:program:/bin/hello", "11" * 32, "program"),
        Input("urn:tee-shim:launcher:shim-launch", "22" * 32, "launcher"),
        Input("urn:tee-shim:source:a%20directory", "", "source"),
    )
    assert read(json.loads(provenance.write((Subject("app", DIGEST, {}),), build))) == build


@pytest.mark.parametrize("change", [{"inputs": 7}, {"inputs": [7]}, {"inputs": [{"name": "x", "sha256": "zz", "detail": ""}]},
                                    {"request": 7}, {"program": None}])  # fmt: skip
def test_manifests_that_are_none(change: Mapping[str, object]) -> None:
    value = {**json.loads(image_manifest()), **change}
    if change.get("program", "") is None:
        del value["program"]
    with pytest.raises(SignatureFormatError, match="no manifest of shim build"):
        provenance.build_of(json.dumps(value).encode(), "a:b", "manifest")


@given(st.binary(max_size=200))
def test_any_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(SignatureFormatError):
        provenance.build_of(data, "a:b", "manifest")
