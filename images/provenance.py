"""
How an image was made, as a statement that its builder signs: SLSA provenance, version 1.

Source:
    SLSA 1.0, provenance, "Schema" and "Fields"; in-toto attestation framework 1.1,
    spec/v1/resource_descriptor.md.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from attestation.json_document import JsonObject
from images.buildinfo import Written
from images.image import MAX_TIME
from images.layout.errors import reading
from images.manifest import Manifest
from images.ownership import PackageVersion
from images.packages.errors import MissingLibraryError
from images.signature import statement
from images.signature.errors import SignatureFormatError
from images.signature.statement import Statement, Subject
from images.tree import Kind
from shim.canonical import JsonValue

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tee-shim:build:v1"
FILE_URI = "urn:tee-shim:file:"
# Rules by which files come into an image that are made for it.
_MADE = frozenset({"shim", "scanners", "loader"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Input:
    """
    One thing that an image was made from.

    Attributes:
        uri: What it is and where it comes from, or "".
        sha256: Its digest, 64 hexadecimal digits, or "" for what has none, such as a running system.
        name: What it was used as; of a file its path.
        packages: Package URLs of what installed it, as it is.
    """

    uri: str
    sha256: str
    name: str = ""
    packages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.uri, self.sha256 and f"sha256:{self.sha256}")))


@dataclass(frozen=True, slots=True)
class Build:
    """
    How an image was made.

    Attributes:
        builder: The URI of who ran the build; whoever signs vouches for it.
        command: The command and its options, as the user gave them.
        inputs: All that went in.
        tool_version: Of the shim.
        build_type: The URI that says what the parameters mean.
        created: SOURCE_DATE_EPOCH, or what stands for it; None where nobody says.
        compressor: Its name and version, "" for none.
    """

    builder: str
    command: tuple[str, ...]
    inputs: tuple[Input, ...]
    tool_version: str
    build_type: str = BUILD_TYPE
    created: int | None = None
    compressor: str = ""


def write(subjects: Sequence[Subject], build: Build) -> bytes:
    """Return the canonical JSON of the statement that these images were made so."""
    internal: dict[str, JsonValue] = {"toolVersion": build.tool_version}
    internal |= {"sourceDateEpoch": build.created} if build.created is not None else {}
    internal |= {"compressor": build.compressor} if build.compressor else {}
    definition: dict[str, JsonValue] = {
        "buildType": build.build_type,
        "externalParameters": {"command": list(build.command)},
        "internalParameters": internal,
        "resolvedDependencies": [_descriptor(one) for one in build.inputs],
    }
    details: dict[str, JsonValue] = {
        "builder": {"id": build.builder, "version": {"tee-shim": build.tool_version}},
    }
    return statement.write(subjects, PREDICATE_TYPE, {"buildDefinition": definition, "runDetails": details})


def _descriptor(one: Input) -> JsonValue:
    value: dict[str, JsonValue] = {"name": one.name} if one.name else {}
    value |= {"uri": one.uri} if one.uri else {}
    value |= {"annotations": {"packages": list(one.packages)}} if one.packages else {}
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
        build_type, builder = definition.text("buildType"), details.part("builder").text("id")
        if build_type != BUILD_TYPE:
            return Build(builder, (), inputs, "", build_type)
        internal = definition.part("internalParameters")
        return Build(
            builder,
            given.texts("command"),
            inputs,
            internal.text("toolVersion"),
            build_type,
            internal.number("sourceDateEpoch", MAX_TIME) if "sourceDateEpoch" in internal else None,
            internal.text("compressor") if "compressor" in internal else "",
        )


def _read_input(part: JsonObject) -> Input:
    uri = part.text("uri") if "uri" in part else ""
    digest = part.part("digest") if "digest" in part else JsonObject({}, part.where)
    sha256 = digest.text("sha256") if "sha256" in digest else ""
    if (sha256 and not _SHA256.fullmatch(sha256)) or not (uri or sha256):
        raise part.wrong("digest", dict(digest.members), "a SHA-256, or a uri")
    # What others note is theirs: only text in a list is read.
    noted = part.members.get("annotations")
    packages = noted.get("packages") if isinstance(noted, dict) else None
    named = packages if isinstance(packages, list) else []
    urls = tuple(one for one in named if isinstance(one, str))
    return Input(uri, sha256, part.text("name") if "name" in part else "", urls)


def build_of(manifest: Manifest, written: Written, builder: str) -> Build:
    """
    Return how an image was made: the one account of it, whoever signs it and when.

    Every file that was taken is an input, with the packages that it came with unchanged; so are kernel, stub
    and firmware of an image that boots.  What is made for every image is not.

    Args:
        manifest: Of the image, as `shim build` puts it inside.
        written: How it was written.
        builder: The URI of who ran the build.

    Raises:
        MissingLibraryError: no library for package URLs.
    """
    boot = tuple(Input(_urn(one.name, one.path), one.sha256, one.name) for one in written.boot)
    files = tuple(
        Input(_urn("file", item.path), item.sha256, item.path, () if item.altered else _urls(item.packages))
        for item in manifest.items
        if item.kind is Kind.FILE and item.reason.rule not in _MADE
    )
    named = tuple(Input(_urn(one.name, one.detail), one.sha256, one.name) for one in manifest.inputs)
    return Build(
        builder,
        ("shim", "build", *written.options, *manifest.command),
        (*named, *boot, *files),
        manifest.tool_version,
        created=manifest.created,
        compressor=written.compressor,
    )


def statement_of(manifest: Manifest, written: Written, builder: str) -> bytes:
    """
    Return the statement that an image was made so, the same bytes for the same image.

    Raises:
        MissingLibraryError: as `build_of`.
    """
    name = written.tag or posixpath.basename(manifest.program)
    return write((Subject(name, written.sha256, {}),), build_of(manifest, written, builder))


def _urls(packages: Sequence[PackageVersion]) -> tuple[str, ...]:
    if not packages:
        return ()
    try:
        from images.sbom.purl import url_of  # noqa: PLC0415  # what an extra brings
    except ModuleNotFoundError as error:
        want = "it: pip install 'tee-shim[sign]'"
        raise MissingLibraryError(str(error.name), "not installed", want) from error
    return tuple(map(url_of, packages))


def _urn(name: str, detail: str) -> str:
    quoted = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._~/") else _percent(letter)
        for letter in detail
    )
    return f"urn:tee-shim:{name}" + (f":{quoted}" if quoted else "")


def _percent(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
