"""Images of several platforms under one name: each still what it was, found by every tool, signed each and all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from images.layout.contents import check_spelling, contents_of, digest_of, signed_digest
from images.layout.errors import LayoutError
from images.layout.files import read_files
from images.layout.graph import Index, Layout, parse
from images.layout.joined import Joined, joined
from images.signature.attachments import CYCLONEDX
from images.signature.signing import Attachment, Signing, attached, signed
from images.signature.stored import signatures_in
from shim.cli import index, sign
from tests.fakes import layouts
from tests.fakes.layouts import SBOM, new_key
from tests.fakes.tools import ask, told

KEY = new_key("release.pub")
FILES = {"amd64": {"app": b"for amd64"}, "arm64": {"app": b"for arm64"}, "riscv64": {"app": b"for riscv64"}}


def one(*architectures: str) -> Layout:
    images = ((name, (layouts.tar(FILES[name]),)) for name in architectures)
    return parse(layouts.layout(*images), " and ".join(architectures))


def both(reference: str = "latest") -> Joined:
    return joined((one("amd64"), one("arm64")), reference, "both")


def entries(layout: Layout) -> list[dict[str, object]]:
    return list(json.loads(layout.files["index.json"])["manifests"])


def test_the_index_names_each_image_with_its_platform() -> None:
    made = both("app")
    [top] = [entry for entry in made.layout.entries if isinstance(entry, Index)]
    assert top.descriptor.reference == "app"
    document = json.loads(made.layout.blob(top.descriptor))
    assert [row["platform"] for row in document["manifests"]] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64"},
    ]
    for name, row in zip(("amd64", "arm64"), document["manifests"], strict=True):
        [image] = contents_of(one(name)).images
        assert row["digest"] == f"sha256:{image.descriptor.digest}"
        assert made.platforms[f"linux/{name}"] == image.descriptor.digest


def test_images_are_byte_for_byte_what_they_were() -> None:
    made = both()
    for name in ("amd64", "arm64"):
        [image] = contents_of(one(name)).images
        for blob in (image.descriptor, image.config, *image.layers):
            assert hashlib.sha256(made.layout.blob(blob)).hexdigest() == blob.digest


def test_the_order_of_the_layouts_does_not_show() -> None:
    swapped = joined((one("arm64"), one("amd64")), "latest", "both")
    assert swapped.layout.files == both().layout.files


def test_a_joined_layout_can_be_joined_again() -> None:
    made = joined((both().layout, one("riscv64"), one("arm64")), "latest", "three")
    assert list(made.platforms) == ["linux/amd64", "linux/arm64", "linux/riscv64"]
    assert len([entry for entry in made.layout.entries if isinstance(entry, Index)]) == 1
    again = joined((made.layout,), "latest", "three")
    assert again.layout.files == made.layout.files


def test_two_images_for_one_platform_are_refused() -> None:
    other = parse(layouts.layout(("amd64", (layouts.tar({"app": b"another"}),))), "other")
    with pytest.raises(LayoutError, match="two images for linux/amd64, the other in amd64"):
        joined((one("amd64"), other), "latest", "both")
    assert list(joined((one("amd64"), one("amd64")), "latest", "x").platforms) == ["linux/amd64"]


def test_no_layout_has_no_image() -> None:
    with pytest.raises(LayoutError, match="no image"):
        joined((), "latest", "none")


def test_what_is_attached_stays_and_signatures_go() -> None:
    layout = one("amd64")
    [image] = contents_of(layout).images
    layout = signed(attached(layout, [(image.descriptor, Attachment(CYCLONEDX, SBOM))]), Signing(KEY))
    made = joined((layout, one("arm64")), "latest", "both")
    found = contents_of(made.layout)
    assert [each.artifact_type for each in found.attachments] == [CYCLONEDX]
    assert found.attachments[0].subject is not None
    assert found.attachments[0].subject.digest == image.descriptor.digest
    assert found.signatures == ()
    assert [line.partition(":")[2] for line in made.left_out] == [
        " its signatures, which cover that layout: sign the new one"
    ]


def test_what_belongs_to_an_index_that_is_gone_is_said() -> None:
    layout = both().layout
    [top] = [entry for entry in contents_of(layout).images if isinstance(entry, Index)]
    layout = attached(layout, [(top.descriptor, Attachment(CYCLONEDX, SBOM))])
    made = joined((layout, one("riscv64")), "latest", "three")
    assert contents_of(made.layout).attachments == ()
    assert any("which belongs to an index" in line for line in made.left_out)


def test_the_index_and_every_image_are_signed() -> None:
    layout = signed(both().layout, Signing(KEY, "app", 3))
    found = contents_of(layout)
    check_spelling(layout, found)
    named = {image.descriptor.digest for image in found.images}
    assert len(named) == 3
    assert {signed_digest(signature) for signature in found.signatures} == named
    for signature in found.signatures:
        [stored] = signatures_in(layout, signature)
        assert KEY.public.made(stored.signature, stored.payload)
        payload = json.loads(stored.payload)
        assert payload["critical"]["image"]["docker-manifest-digest"] == f"sha256:{signed_digest(signature)}"


def test_images_that_only_an_index_names_are_signed_too() -> None:
    """As others write indexes: without names for the images inside."""
    layout = both().layout
    value = json.loads(layout.files["index.json"])
    value["manifests"] = value["manifests"][:1]
    bare = parse({**layout.files, "index.json": json.dumps(value).encode()}, "bare")
    made = signed(bare, Signing(KEY))
    assert len({signed_digest(signature) for signature in contents_of(made).signatures}) == 3


def test_an_image_that_is_taken_out_shows() -> None:
    layout = signed(both().layout, Signing(KEY))
    digest = digest_of(layout, contents_of(layout))
    found = contents_of(layout)
    fewer = replace(
        found, others=tuple(one for one in found.others if "arm64" not in json.dumps(dict(one), default=dict))
    )
    assert digest_of(layout, fewer) != digest


def test_skopeo_and_umoci_find_each_image(tmp_path: Path) -> None:
    layouts.write(both("v1").layout.files, tmp_path / "both")
    for name in ("amd64", "arm64"):
        shown = told("skopeo", "inspect", "--override-arch", name, f"oci:{tmp_path}/both:v1")
        assert json.loads(shown)["Architecture"] == name
        done = ask(
            "umoci",
            "--log=error",
            "unpack",
            "--rootless",
            "--image",
            f"{tmp_path}/both:v1-{name}",
            tmp_path / name,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "rootfs/app").read_bytes() == FILES[name]["app"]


def test_the_command(tmp_path: Path) -> None:
    for name in ("amd64", "arm64"):
        layouts.write(layouts.layout((name, (layouts.tar(FILES[name]),))), tmp_path / name)
    (tmp_path / "key").write_bytes(layouts.private_pem())
    given = [str(tmp_path / "amd64"), str(tmp_path / "arm64")]
    done = CliRunner().invoke(index.command, ["-o", str(tmp_path / "both"), *given])
    assert (done.exit_code, done.stdout.split()[::2]) == (0, ["linux/amd64", "linux/arm64"])
    done = CliRunner().invoke(sign.command, [str(tmp_path / "both"), "--key", str(tmp_path / "key")])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3
    assert parse(read_files(tmp_path / "both"), "both").files
    done = CliRunner().invoke(index.command, ["-o", str(tmp_path / "again"), str(tmp_path / "both")])
    assert "sign the new one" in done.stderr


def test_the_command_leaves_what_is_no_image(tmp_path: Path) -> None:
    layouts.write(layouts.layout(), tmp_path / "img")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_text("x")
    done = CliRunner().invoke(index.command, ["-o", str(tmp_path / "precious"), str(tmp_path / "img")])
    assert done.exception is not None
    assert "no image" in str(done.exception)
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis"]
