"""`shim sign`, `shim verify-image` and `shim run IMAGE` as a user meets them: files in, text and exit codes out."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner

from images.layout.contents import contents_of
from images.layout.files import read_files
from images.layout.graph import parse
from images.signature import statement
from images.signature.keys import read_private
from images.signature.statement import Subject
from images.trust import version_state
from shim.analysis.derive import derive
from shim.cli import sign, verify_image
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.errors import ShimError
from shim.launch.compose import compose
from shim.launch.layout import layout_of
from shim.launch.plan_codec import encode
from tests.fakes import layouts

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = ROOT / "shim" / "launch" / "shim-launch"
BUILDER = "https://build.example/ci"
HELLO = """
#include <stdio.h>
#include <sys/stat.h>
int main(int c, char **v) {
    struct stat s;
    printf("%d %s %s\\n", c, v[c - 1], stat("/etc/passwd", &s) ? "alone" : "with others");
    return 7;
}
"""
Answer = tuple[int, str, str]


def run(command: Any, *arguments: object, **options: Any) -> Answer:  # noqa: ANN401  # as click has them
    """Return exit code, standard output and message, as the program's top level makes them."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], **options)
    if isinstance(result.exception, ShimError):
        return getattr(result.exception, "exit_code", 1), result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an unsigned layout, keys, an SBOM and a policy."""
    layouts.write(layouts.layout(), tmp_path / "img")
    for name in ("release", "builder"):
        pem = layouts.private_pem("p256" if name == "release" else "ed25519")
        (tmp_path / f"{name}.key").write_bytes(pem)
        (tmp_path / f"{name}.pub").write_bytes(layouts.public_pem(read_private(pem, name)))
    (tmp_path / "sbom.json").write_bytes(layouts.SBOM)
    write_policy(tmp_path, {"provenance.keys": ["release.pub"]})
    return tmp_path


def write_policy(place: Path, changes: Mapping[str, Any]) -> None:
    value = copy.deepcopy(dict(layouts.POLICY))
    for path, new in changes.items():
        there: Any = value
        *above, last = path.split(".")
        for name in above:
            there = there[name]
        there[last] = new
    (place / "policy.toml").write_text(tomlkit.dumps(value))


def signed(place: Path, *more: object, version: int = 7) -> Answer:
    given = (
        "--identity",
        layouts.IDENTITY,
        "--version",
        version,
        "--attach",
        place / "sbom.json",
        "--builder",
        BUILDER,
    )
    return run(sign.command, place / "img", "--key", place / "release.key", *given, *more)


def verified(place: Path, *more: object) -> Answer:
    return run(verify_image.command, place / "img", "--policy", place / "policy.toml", *more)


def test_what_is_signed_is_accepted(place: Path) -> None:
    code, output, _ = signed(place)
    assert code == 0
    assert output.startswith("sha256:")
    assert " signed as registry.example/app version 7 by " in output
    code, output, _ = verified(place)
    assert code == 0
    lines = [line.split() for line in output.splitlines()]
    assert lines[0][0] == "accepted:"
    assert ["version", "7"] in lines
    assert ["built", "by", BUILDER] in lines
    code, output, _ = verified(place, "--format", "json")
    assert (code, json.loads(output)["verdict"]) == (0, "accepted")
    assert json.loads(output)["images"][0]["attached"] == [
        "application/vnd.cyclonedx+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    ]


def test_only_what_is_recorded_is_remembered(place: Path) -> None:
    signed(place)
    assert verified(place)[0] == 0
    assert not (place / "versions.json").exists()
    assert verified(place, "--record")[0] == 0
    assert version_state.read_file(place / "versions.json") == {layouts.IDENTITY: 7}
    signed(place, version=6)
    code, _, message = verified(place, "--record")
    assert code == 16
    assert "version: found 6, want at least 7, which was accepted before" in message
    assert version_state.read_file(place / "versions.json") == {layouts.IDENTITY: 7}


def test_each_kind_of_refusal_has_its_exit_code(place: Path) -> None:
    assert verified(place)[0] == 11
    signed(place)
    write_policy(place, {"version.minimum": 8})
    assert verified(place)[0] == 11  # the provenance is signed by a key that the policy does not know for it
    write_policy(place, {"version.minimum": 8, "provenance.keys": ["release.pub"]})
    code, output, message = verified(place, "--format", "json")
    assert code == 16
    assert json.loads(output)["refusals"][0]["found"] == "7"
    assert "version: found 7, want at least 8" in message
    write_policy(place, {"sbom": "spdx", "provenance.keys": ["release.pub"]})
    assert verified(place)[0] == 17
    (place / "policy.toml").write_text("sbom = 7\n")
    code, output, message = verified(place)
    assert (code, output) == (2, "")
    assert f"{place / 'policy.toml'}:1: sbom: found 7, want" in message
    (place / "versions.json").write_text("{}")
    write_policy(place, {"provenance.keys": ["release.pub"]})
    code, _, message = verified(place)
    assert code == 16
    assert "versions.json.schema: found nothing" in message
    (place / "img" / "index.json").write_text("{}")
    (place / "versions.json").unlink()
    assert verified(place)[0] == 10


def test_a_key_with_a_passphrase(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "release.key").write_bytes(layouts.private_pem("ed25519", b"pass word"))
    code, _, message = signed(place)
    assert (code, "an encrypted key" in message) == (2, True)
    monkeypatch.setenv("WORD", "pass word")
    assert signed(place, "--passphrase-env", "WORD")[0] == 0
    reading, writing = os.pipe()
    os.write(writing, b"pass word\nmore")
    assert signed(place, "--passphrase-fd", reading)[0] == 0
    os.close(reading)
    os.close(writing)
    monkeypatch.setenv("WORD", "another")
    code, _, message = signed(place, "--passphrase-env", "WORD")
    assert (code, "another passphrase" in message) == (2, True)
    assert signed(place, "--passphrase-env", "NO_SUCH")[0] == 2
    assert signed(place, "--passphrase-fd", reading)[0] == 2
    assert signed(place, "--passphrase-fd", 0, "--passphrase-env", "WORD")[0] == 2


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (lambda place: (place / "release.key").write_text("x"), 2, "release.key: found no PEM"),
        (lambda place: shutil.copy(place / "release.pub", place / "release.key"), 2, "found PUBLIC KEY in PEM"),
        (lambda place: (place / "sbom.json").write_text("{}"), 10, "sbom.json: found a document of an unknown kind"),
        (lambda place: (place / "img" / "index.json").write_text("{}"), 10, "index.json"),
        (lambda place: (place / "img" / "more").touch(), 10, "found 'more'"),
    ],
    ids=range(5),
)  # fmt: skip
def test_what_cannot_be_signed_stays_as_it_is(
    place: Path, damage: Callable[[Path], object], code: int, message: str
) -> None:
    damage(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    answer = signed(place)
    assert answer[0] == code
    assert message in answer[2]
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_provenance_from_a_file(place: Path) -> None:
    (image,) = contents_of(parse(read_files(place / "img"), "img")).images
    said = statement.write(
        (Subject("", image.descriptor.digest, {}),), "https://slsa.dev/provenance/v1", {"a": 1}
    )
    (place / "said.json").write_bytes(said)
    given = ("--key", place / "release.key", "--provenance", place / "said.json")
    assert run(sign.command, place / "img", *given)[0] == 0
    (place / "said.json").write_bytes(said.replace(image.descriptor.digest.encode(), b"ab" * 32))
    code, _, message = run(sign.command, place / "img", *given)
    assert (code, "said.json.subject: found abab" in message) == (10, True)


def test_an_image_of_others_has_no_manifest_to_go_by(place: Path) -> None:
    shutil.rmtree(place / "img")
    layouts.write(layouts.layout(("amd64", (layouts.tar({"a": b"b"}),))), place / "img")
    code, _, message = signed(place)
    assert code == 10
    assert (
        "/shim/manifest.json: found no such file, want an image of shim build, or --provenance FILE"
        in message
    )


def test_several_images_want_a_platform(place: Path) -> None:
    shutil.rmtree(place / "img")
    both = (("amd64", (layouts.tar(layouts.FILES),)), ("arm64", (layouts.tar(layouts.FILES | {"x": b""}),)))
    layouts.write(layouts.layout(*both), place / "img")
    code, _, message = signed(place)
    assert code == 2
    assert "found none, want one of linux/amd64, linux/arm64" in message
    for platform in ("linux/amd64", "linux/arm64"):
        assert signed(place, "--platform", platform)[0] == 0
    assert verified(place)[0] == 0


def test_a_signature_that_is_kept_elsewhere(place: Path) -> None:
    assert signed(place, "--bundle", place / "image.sigstore.json")[0] == 0
    bundle = json.loads((place / "image.sigstore.json").read_bytes())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    shutil.rmtree(place / "img")
    layouts.write(layouts.layout(), place / "img")
    loose = {"sbom": "unchecked", "provenance": "unchecked", "signature.contents": "unchecked"}
    write_policy(place, loose)
    assert verified(place)[0] == 11
    assert verified(place, "--bundle", place / "image.sigstore.json")[0] == 0
    (place / "image.sigstore.json").write_bytes(b"{}")
    assert verified(place, "--bundle", place / "image.sigstore.json")[0] == 10


@pytest.fixture(scope="session")
def program(compile_c: Callable[..., bytes]) -> dict[str, bytes | str]:
    """The files of an image with a real launcher, a real plan and a real program."""
    data = compile_c(HELLO, "-static", compiler="musl-gcc")
    profile = derive(data, "/bin/hello")
    layout = layout_of(profile, parse_elf(data, "/bin/hello"), RootedFiles("/").read)
    plan = compose(profile, "/bin/hello", ("hello", "world"), {}, layout=layout)
    files: dict[str, bytes | str] = {**layouts.FILES, "bin/hello": data, "proc/": b""}
    return {**files, "shim/launch": LAUNCHER.read_bytes(), "shim/plan": encode(plan)}


@pytest.fixture
def image(place: Path, program: dict[str, bytes | str]) -> Path:
    """A signed image that can run, with its policy beside it."""
    shutil.rmtree(place / "img")
    layouts.write(layouts.layout(("amd64", (layouts.tar(program),))), place / "img")
    assert signed(place)[0] == 0
    return place


def shim(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from shim.cli.main import main; main()", *map(str, arguments)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(place),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=place, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not list(place.glob("shim-*")), "something was left behind"
    return done


def ran(place: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return shim(place, "run", "--tee", "simulated", "--image-policy", "policy.toml", "img", *more)


@pytest.mark.usefixtures("namespaces")
def test_an_accepted_image_runs_alone_and_is_remembered(image: Path) -> None:
    done = ran(image)
    assert (done.returncode, done.stdout) == (7, "2 world alone\n"), done.stderr
    assert version_state.read_file(image / "versions.json") == {layouts.IDENTITY: 7}
    assert ran(image).returncode == 7
    more = ran(image, "more")
    assert (more.returncode, more.stdout) == (125, "")
    assert "shim: arguments: found 1 behind the plan's 2, want none" in more.stderr
    assert signed(image, version=6)[0] == 0
    again = ran(image)
    assert again.returncode == 125
    assert "found 6, want at least 7, which was accepted before" in again.stderr
    assert again.stderr.endswith("shim: nothing ran\n")


def unsigned(place: Path) -> None:
    index = json.loads((place / "img" / "index.json").read_bytes())
    entry = next(one for one in index["manifests"] if one.get("annotations", {}).get(
        "org.opencontainers.image.ref.name", "").endswith(".sig"))  # fmt: skip
    index["manifests"].remove(entry)
    manifest = place / "img" / layouts.blob_named(entry)
    for one in (json.loads(manifest.read_bytes())["config"], *json.loads(manifest.read_bytes())["layers"]):
        (place / "img" / layouts.blob_named(one)).unlink()
    manifest.unlink()
    (place / "img" / "index.json").write_text(json.dumps(index))


def damaged(place: Path, name: str) -> None:
    path = place / "img" / name
    if path.is_dir():
        path = max(path.iterdir(), key=lambda one: one.stat().st_size)
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes((data[-20] ^ 1,)) + data[-19:])


REFUSED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "unsigned": (unsigned, "signatures: found none, want one by an accepted key"),
    "signed by another key": (
        lambda place: shutil.copy(place / "builder.pub", place / "release.pub"),
        "signatures: found 0 of 1, the others altered or by other keys",
    ),
    "an altered layer": (lambda place: damaged(place, "blobs/sha256"), "want the digest that it is named by"),
    "an altered index": (lambda place: damaged(place, "index.json"), "img"),
    "an altered version of the layout": (lambda place: damaged(place, "oci-layout"), "oci-layout"),
    "too old": (
        lambda place: write_policy(place, {"version.minimum": 8, "provenance.keys": ["release.pub"]}),
        "version: found 7, want at least 8",
    ),
    "inputs that are not accepted": (
        lambda place: write_policy(
            place,
            {"provenance.keys": ["release.pub"], "provenance.inputs.sources": ["urn:tee-shim:launcher:*"]},
        ),
        "input: found source urn:tee-shim:source:a%20directory, want a digest or a source that the policy accepts",
    ),
    "another builder": (
        lambda place: write_policy(
            place, {"provenance.keys": ["release.pub"], "provenance.builders": ["a:b"]}
        ),
        f"builder: found '{BUILDER}', want a:b",
    ),
    "no SBOM of a kind": (
        lambda place: write_policy(place, {"provenance.keys": ["release.pub"], "sbom": "spdx"}),
        "SBOM: found application/vnd.cyclonedx+json",
    ),
    "a policy that cannot be used": (
        lambda place: (place / "policy.toml").write_text("x = 1"),
        "policy.toml:1: x: found",
    ),
    "a state that cannot be used": (lambda place: (place / "versions.json").write_text("x"), "versions.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_does_not_run(image: Path, name: str) -> None:
    damage, message = REFUSED[name]
    damage(image)
    done = ran(image)
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr, done.stderr
    assert done.stderr.endswith("shim: nothing ran\n")


def test_usage_of_images_and_programs(image: Path) -> None:
    done = shim(image, "run", "--tee", "simulated", "./img")
    assert done.returncode == 125
    assert "no policy that says who may sign it, want --image-policy FILE" in done.stderr
    done = shim(image, "run", "--tee", "simulated", "--image-policy", "policy.toml", "--ro", "/", "img")
    assert (done.returncode, "found --ro beside an image, want it in its plan" in done.stderr) == (125, True)
    done = shim(image, "run", "--tee", "simulated", "--image-policy", "policy.toml", "/bin/true")
    assert (done.returncode, "mean nothing for a program" in done.stderr) == (125, True)
    done = shim(image, "run", "--tee", "simulated", "--image-policy", "policy.toml", "--events", "x", "img")
    assert (done.returncode, "found --events beside an image" in done.stderr) == (125, True)


def test_an_image_that_is_not_of_shim_build(place: Path) -> None:
    shutil.rmtree(place / "img")
    layouts.write(layouts.layout(("arm64" if os.uname().machine == "x86_64" else "amd64", (layouts.tar(layouts.FILES),))), place / "img")  # fmt: skip
    assert signed(place)[0] == 0
    done = ran(place)
    assert (done.returncode, "want one for this machine" in done.stderr) == (125, True)


@pytest.mark.usefixtures("namespaces")
def test_a_launcher_that_cannot_run_is_no_success(place: Path) -> None:
    assert signed(place)[0] == 0  # its launcher is eight bytes
    done = ran(place)
    assert done.returncode == 126
    assert "/shim/launch: Exec format error" in done.stderr
