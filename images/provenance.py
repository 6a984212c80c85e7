"""
How an image was made, as a statement that its builder signs: SLSA provenance, version 1.

Source:
    SLSA 1.0, provenance, "Schema" and "Fields"; in-toto attestation framework 1.1,
    spec/v1/resource_descriptor.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.json_document import JsonObject
from images.layout.errors import reading
from images.signature import statement
from images.signature.errors import SignatureFormatError
from images.signature.statement import Statement, Subject
from shim.canonical import JsonValue

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tee-shim:build:v1"
MANIFEST = "shim/manifest.json"
MAX_MANIFEST, MAX_INPUTS = 256 << 20, 100_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Input:
    """
    One thing that an image was made from.

    Attributes:
        uri: What it is and where it comes from, or "".
        sha256: Its digest, 64 hexadecimal digits, or "" for what has none, such as a running system.
        name: What it was used as.
    """

    uri: str
    sha256: str
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.uri, self.sha256 and f"sha256:{self.sha256}")))


@dataclass(frozen=True, slots=True)
class Build:
    """
    How an image was made.

    Attributes:
        builder: The URI of who ran the build; whoever signs vouches for it.
        build_type: The URI that says what the parameters mean.
        command: The command and its options, as the user gave them.
        inputs: All that went in.
        tool_version: Of the shim.
    """

    builder: str
    command: tuple[str, ...]
    inputs: tuple[Input, ...]
    tool_version: str
    build_type: str = BUILD_TYPE


def write(subjects: Sequence[Subject], build: Build) -> bytes:
    """Return the canonical JSON of the statement that these images were made so."""
    definition: dict[str, JsonValue] = {
        "buildType": build.build_type,
        "externalParameters": {"command": list(build.command)},
        "internalParameters": {"toolVersion": build.tool_version},
        "resolvedDependencies": [_descriptor(one) for one in build.inputs],
    }
    details: dict[str, JsonValue] = {
        "builder": {"id": build.builder, "version": {"tee-shim": build.tool_version}},
    }
    return statement.write(subjects, PREDICATE_TYPE, {"buildDefinition": definition, "runDetails": details})


def _descriptor(one: Input) -> JsonValue:
    value: dict[str, JsonValue] = {"name": one.name} if one.name else {}
    value |= {"uri": one.uri} if one.uri else {}
    return value | ({"digest": {"sha256": one.sha256}} if one.sha256 else {})


def read(said: Statement, where: str) -> Build:
    """
    Return what a statement of provenance says, by whatever builder.

    Raises:
        SignatureFormatError: it is no provenance of version 1, or an input has neither URI nor SHA-256.

    Not checked:
        What the parameters of another build type mean: `command` is empty then.
    """
    if said.predicate_type != PREDICATE_TYPE:
        raise SignatureFormatError(f"{where}.predicateType", repr(said.predicate_type)[:90], PREDICATE_TYPE)
    with reading(SignatureFormatError):
        definition, details = said.predicate.part("buildDefinition"), said.predicate.part("runDetails")
        given = definition.part("externalParameters")
        inputs: tuple[Input, ...] = ()
        if "resolvedDependencies" in definition:
            inputs = tuple(_read_input(part) for part in definition.parts("resolvedDependencies"))
        build_type = definition.text("buildType")
        return Build(
            details.part("builder").text("id"),
            given.texts("command") if build_type == BUILD_TYPE else (),
            inputs,
            definition.part("internalParameters").text("toolVersion") if build_type == BUILD_TYPE else "",
            build_type,
        )


def _read_input(part: JsonObject) -> Input:
    uri = part.text("uri") if "uri" in part else ""
    digest = part.part("digest") if "digest" in part else JsonObject({}, part.where)
    sha256 = digest.text("sha256") if "sha256" in digest else ""
    if (sha256 and not _SHA256.fullmatch(sha256)) or not (uri or sha256):
        raise part.wrong("digest", dict(digest.members), "a SHA-256, or a uri")
    return Input(uri, sha256, part.text("name") if "name" in part else "")


def build_of(manifest: bytes, builder: str, where: str) -> Build:
    """
    Return how an image was made, as the manifest of `shim build` inside of it says.

    Args:
        manifest: The file `/shim/manifest.json` of the image.
        builder: The URI of who ran the build.
        where: The manifest's name, for messages.

    Raises:
        SignatureFormatError: no such manifest.
    """
    if len(manifest) > MAX_MANIFEST:
        raise SignatureFormatError(where, f"{len(manifest)} bytes", f"at most {MAX_MANIFEST} bytes")
    try:
        value: Mapping[str, Any] = json.loads(manifest)
        inputs = tuple(_manifest_input(one) for one in value["inputs"])
        command = (
            "shim",
            "build",
            *map(str, value["request"]),
            str(value["program"]),
            *map(str, value["arguments"]),
        )
        return Build(builder, command, inputs, str(value["tool_version"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SignatureFormatError(where, "no manifest of shim build", "one, or --provenance FILE") from error


def _manifest_input(one: Mapping[str, Any]) -> Input:
    sha256, name = str(one["sha256"]), str(one["name"])
    if sha256 and not _SHA256.fullmatch(sha256):
        raise ValueError("a digest that is none")
    detail = "".join(
        letter if letter.isalnum() or letter in "-._~/" else f"%{ord(letter):02X}"
        for letter in str(one["detail"])
    )
    return Input(f"urn:tee-shim:{name}" + (f":{detail}" if detail else ""), sha256, name)
