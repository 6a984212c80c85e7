"""Provenance is written as SLSA has it, and read from whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement as TheirStatement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from images import provenance
from images.buildinfo import BootInput, Written
from images.file_table import Item
from images.manifest import loads
from images.ownership import PackageVersion
from images.provenance import Build, Input
from images.signature import statement
from images.signature.errors import SignatureFormatError
from images.signature.statement import Subject
from images.tree import Kind, Reason
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


WRITTEN = Written("oci", "gzip", 6, "zlib 1.3 level 6", tag="latest", sha256=DIGEST)
MADE = loads(image_manifest(), "manifest")


def test_that_of_an_image_of_shim_build() -> None:
    build = provenance.build_of(MADE, WRITTEN, "https://build.example/ci")
    options = ("--format", "oci", "--compress", "gzip", "--level", "6", "--tag", "latest")
    assert build.command == ("shim", "build", *options, "--env", "A=1", "--", "hello", "world")
    assert build.inputs == (
        Input("urn:tee-shim:program:/bin/hello", "11" * 32, "program"),
        Input("urn:tee-shim:launcher:shim-launch", "22" * 32, "launcher"),
        Input("urn:tee-shim:source:a%20directory", "", "source"),
    )
    assert (build.created, build.compressor) == (315532800, "zlib 1.3 level 6")
    text = provenance.statement_of(MADE, WRITTEN, "https://build.example/ci")
    assert read(json.loads(text)) == build
    assert provenance.statement_of(MADE, WRITTEN, "https://build.example/ci") == text
    TheirStatement.copy_from_pb(json_format.Parse(text, StatementMessage())).validate()


def test_every_file_that_was_taken_is_an_input_with_its_package() -> None:
    package = PackageVersion("deb", "libc6", "2.36-9+b1", "amd64", "debian", "12")
    items = (
        Item("/lib/Ő c", Kind.FILE, 0o644, 1, "44" * 32, "", Reason("needed"), (package,)),
        Item("/lib/d", Kind.FILE, 0o644, 1, "55" * 32, "", Reason("needed"), (package,), altered=True),
        Item("/lib", Kind.DIRECTORY, 0o755, 0, "", "", Reason("directory")),
        *(
            Item(f"/{rule}", Kind.FILE, 0o644, 1, "66" * 32, "", Reason(rule))
            for rule in ("shim", "scanners")
        ),
    )
    boot = (BootInput("kernel", "/boot/vmlinuz", "77" * 32, named=True),)
    written = replace(WRITTEN, form="uki", boot=boot, tag="")
    build = provenance.build_of(replace(MADE, items=items), written, "a:b")
    url = "pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&distro=debian-12"
    assert build.inputs[3:] == (
        Input("urn:tee-shim:kernel:/boot/vmlinuz", "77" * 32, "kernel"),
        Input("urn:tee-shim:file:/lib/%C5%90%20c", "44" * 32, "/lib/Ő c", (url,)),
        Input("urn:tee-shim:file:/lib/d", "55" * 32, "/lib/d"),
    )
    text = provenance.statement_of(replace(MADE, items=items), written, "a:b")
    assert read(json.loads(text)) == build
    assert json.loads(text)["subject"][0]["name"] == "hello"
    found = json_format.Parse(json.dumps(json.loads(text)["predicate"]), Provenance())
    (noted,) = [one for one in found.build_definition.resolved_dependencies if one.annotations]
    assert json_format.MessageToDict(noted.annotations) == {"packages": [url]}


@pytest.mark.parametrize("noted", [7, {"packages": 7}, {"packages": [7]}, {"x": [1]}])
def test_what_others_note_of_their_inputs_is_theirs(noted: object) -> None:
    value = json.loads(TEXT)
    value["predicate"]["buildDefinition"]["resolvedDependencies"][0]["annotations"] = noted
    assert read(value) == BUILD
