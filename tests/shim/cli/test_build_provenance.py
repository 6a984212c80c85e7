# ruff: noqa: ARG001, F811  # fixtures are named as what they are, and some only have to be there
"""`shim build --builder`: one account of how an image was made, whoever signs it, accepted by policies."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message

from images.layout.contents import contents_of
from images.layout.files import read_files
from images.layout.graph import Layout, parse
from images.signature import bundle
from images.signature.dsse import Envelope
from tests.fakes import bzimage, layouts, pe as fakes
from tests.shim.cli.test_build import Shim, cache, digests, hello, placed, shim  # noqa: F401  # fixtures
from tests.shim.conftest import compile_c  # noqa: F401  # a fixture

BUILDER = "https://build.example/ci"
POLICY = """
sbom = "unchecked"
[signature]
keys = ["release.pub"]
threshold = 1
identity = "unchecked"
contents = "signed"
[version]
minimum = "unchecked"
state = "unchecked"
[provenance]
keys = ["release.pub"]
builders = ["https://build.example/ci"]
build_types = ["urn:tee-shim:build:v1"]
[provenance.inputs]
digests = []
sources = ["urn:tee-shim:*"]
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "release.key").write_bytes(layouts.private_pem("ed25519"))
    command = ["openssl", "pkey", "-in", "release.key", "-pubout", "-out", "release.pub"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path / "release.key"


def layout_at(place: Path) -> Layout:
    return parse(read_files(place), "it")


def attached(place: Path) -> list[tuple[str, bytes]]:
    layout = layout_at(place)
    return [(one.artifact_type, layout.blob(one.layers[0])) for one in contents_of(layout).attachments]


def payload(data: bytes) -> bytes:
    content = bundle.parse(data, "it").content
    assert isinstance(content, Envelope)
    return content.payload


def test_it_is_attached_without_a_signature_and_says_what_went_in(
    shim: Shim, hello: Path, tmp_path: Path
) -> None:
    placed(tmp_path / "data", b"data", 0o644)
    given = ("--builder", BUILDER, "--include", "data:/data", "./hello", "x")
    done = shim("-o", "image", *given)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"provenance by {BUILDER}: attached, not signed: shim sign --builder does that" in done.stdout
    ((kind, text),) = attached(tmp_path / "image")
    assert kind == "application/vnd.in-toto+json"
    Statement.copy_from_pb(json_format.Parse(text, Message())).validate()
    value = json.loads(text)
    (image,) = contents_of(layout_at(tmp_path / "image")).images
    assert value["subject"][0]["digest"]["sha256"] == image.descriptor.digest
    definition = value["predicate"]["buildDefinition"]
    command = definition["externalParameters"]["command"]
    assert command[:4] == ["shim", "build", "--format", "oci"]
    assert command[-5:] == ["--include", "data:/data", "--", "./hello", "x"]
    inputs = {one["name"]: one.get("digest", {}).get("sha256") for one in definition["resolvedDependencies"]}
    assert inputs["/data"] == digests(tmp_path)["data"][1]
    assert inputs["/hello"] == digests(tmp_path)["hello"][1] == inputs["program"]
    assert not [name for name in inputs if name.startswith("/shim")]
    assert shim("-o", "again", *given).returncode == 0
    assert digests(tmp_path / "again") == digests(tmp_path / "image")


def test_the_image_is_the_same_with_it_and_without(shim: Shim, hello: Path, tmp_path: Path) -> None:
    assert shim("-o", "one", "./hello").returncode == 0
    assert shim("-o", "two", "--builder", BUILDER, "./hello").returncode == 0
    first, second = (contents_of(layout_at(tmp_path / name)).images[0].descriptor for name in ("one", "two"))
    assert first.digest == second.digest
    done = shim("two", command="rebuild")
    assert (done.returncode, "the same bytes" in done.stdout) == (0, True)


def test_signing_later_says_the_same_and_takes_its_place(
    shim: Shim, hello: Path, key: Path, tmp_path: Path
) -> None:
    assert shim("-o", "image", "--builder", BUILDER, "./hello").returncode == 0
    ((_, text),) = attached(tmp_path / "image")
    signing = ("image", "--key", "release.key")
    assert shim(*signing, command="sign").returncode == 0
    done = shim("image", "--policy", "policy.toml", command="verify-image")
    assert (done.returncode, "provenance: found one that nobody signed" in done.stderr) == (17, True)
    assert shim(*signing, "--builder", BUILDER, command="sign").returncode == 0
    ((kind, data),) = attached(tmp_path / "image")
    assert (kind, payload(data)) == (bundle.MEDIA_TYPE, text)
    done = shim("image", "--policy", "policy.toml", command="verify-image")
    assert done.returncode == 0, done.stderr
    assert f"built by {BUILDER}" in " ".join(done.stdout.split())


def test_one_that_the_build_signs_is_accepted(shim: Shim, hello: Path, key: Path, tmp_path: Path) -> None:
    done = shim(
        "-o", "image", "--builder", BUILDER, "--key", "release.key", "--provenance", "said", "./hello"
    )
    assert (done.returncode, "said, signed" in done.stdout) == (0, True), done.stderr
    ((kind, data),) = attached(tmp_path / "image")
    assert (kind, data) == (bundle.MEDIA_TYPE, (tmp_path / "said").read_bytes())
    assert shim("image", "--key", "release.key", command="sign").returncode == 0
    assert shim("image", "--policy", "policy.toml", command="verify-image").returncode == 0
    (tmp_path / "policy.toml").write_text(POLICY.replace("urn:tee-shim:*", "urn:tee-shim:program:*"))
    done = shim("image", "--policy", "policy.toml", command="verify-image")
    assert (done.returncode, "input: found launcher" in done.stderr) == (17, True)


def test_of_an_image_that_boots_it_is_a_file(shim: Shim, hello: Path, tmp_path: Path) -> None:
    kernel = placed(tmp_path / "kernel", bzimage.kernel(), 0o644)
    placed(tmp_path / "stub", fakes.stub(), 0o644)
    given = ("--format", "uki", "--kernel", "kernel", "--stub", "stub", "--builder", BUILDER)
    done = shim(*given, "--provenance", "said", "-o", "uki", "./hello")
    assert done.returncode == 0, done.stderr
    value = json.loads((tmp_path / "said").read_bytes())
    assert value["subject"] == [{"digest": {"sha256": digests(tmp_path)["uki"][1]}, "name": "hello"}]
    inputs = value["predicate"]["buildDefinition"]["resolvedDependencies"]
    named = {one["name"]: one for one in inputs}
    assert named["kernel"] == {
        "name": "kernel", "uri": "urn:tee-shim:kernel:kernel", "digest": {"sha256": digests(tmp_path)["kernel"][1]},
    }  # fmt: skip
    assert named["stub"]["digest"]["sha256"] == digests(tmp_path)["stub"][1]
    assert kernel.exists()


def encrypted(folder: Path) -> None:
    (folder / "release.key").write_bytes(layouts.private_pem("ed25519", b"pass word"))


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("arguments", "prepare", "said"),
    [
        (["--provenance", "x"], nothing, "want --builder URI beside it"),
        (["--key", "release.key"], nothing, "want --builder URI beside it"),
        (["--builder", "somebody"], nothing, "want a URI such as"),
        (["--builder", "https://a b"], nothing, "want a URI such as"),
        (["--builder", BUILDER, "--format", "rootfs"], nothing, "want a format that has a digest"),
        (["--builder", BUILDER, "--format", "initramfs"], nothing, "want --provenance FILE"),
        (["--builder", BUILDER, "--passphrase-env", "WORD"], nothing, "want --key FILE"),
        (["--builder", BUILDER, "--key", "gone"], nothing, "does not exist"),
        (["--builder", BUILDER, "--key", "hello"], nothing, "found no PEM"),
        (["--builder", BUILDER, "--key", "release.pub"], nothing, "found PUBLIC KEY"),
        (["--builder", BUILDER, "--key", "release.key"], encrypted, "an encrypted key"),
        (
            ["--builder", BUILDER, "--key", "release.key", "--passphrase-env", "NONE"],
            nothing,
            "no variable NONE",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused_and_nothing_written(
    shim: Shim, key: Path, hello: Path, arguments: list[str], prepare: Callable[[Path], None], said: str
) -> None:
    folder = key.parent
    prepare(folder)
    before = digests(folder)
    done = shim("-o", "out", *arguments, "./hello")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert digests(folder) == before
