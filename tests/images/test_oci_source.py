"""Layouts that were tampered with: every byte of every blob counts, and so does who names whom."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from images.errors import SourceError
from images.oci_source import open_layout
from tests.images.test_layers import layer, member

Damage = Callable[["Layout"], None]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Layout:
    """A layout that is written the way a stranger writes one, with what a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        archive = layer(member("etc/hello", b"hello"))
        self.layer = self.blob(gzip.compress(archive, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
        self.config: Any = {
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(archive).hexdigest()}"]}
        }
        self.manifest: Any = {"schemaVersion": 2, "layers": [self.layer]}
        self.version: Any = {"imageLayoutVersion": "1.0.0"}
        self.index: Any = None

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, value: object, kind: str) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), kind)

    def image(self, architecture: str = "amd64") -> dict[str, Any]:
        manifest = {
            "config": self.json(self.config, "application/vnd.oci.image.config.v1+json"),
            **self.manifest,
        }
        return self.json(manifest, MANIFEST) | {"platform": {"architecture": architecture, "os": "linux"}}

    def finish(self) -> str:
        index = self.index if self.index is not None else {"manifests": [self.image()]}
        index = {"schemaVersion": 2, **index} if isinstance(index, dict) else index
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text(json.dumps(self.version))
        return str(self.folder)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def test_an_honest_layout(layout: Layout) -> None:
    files = open_layout(layout.finish())
    assert files.read("/etc/hello") == b"hello"
    assert files.name.startswith("oci sha256:")


def test_an_index_in_an_index_and_other_architectures(layout: Layout) -> None:
    inner = {"schemaVersion": 2, "manifests": [layout.image("arm64"), layout.image("amd64")]}
    layout.index = {"manifests": [layout.json(inner, INDEX)]}
    assert open_layout(layout.finish()).read("/etc/hello") == b"hello"


def several(layout: Layout) -> None:
    layout.index = {"manifests": [layout.image(), layout.image()]}


def deep(layout: Layout) -> None:
    inner = layout.image()
    for _ in range(5):
        inner = layout.json({"schemaVersion": 2, "manifests": [inner]}, INDEX)
    layout.index = {"manifests": [inner]}


def other_layer(layout: Layout) -> None:
    data = gzip.compress(layer(member("etc/hello", b"other")))
    layout.manifest["layers"] = [layout.blob(data, "application/vnd.oci.image.layer.v1.tar+gzip")]


def traversing(layout: Layout) -> None:
    archive = layer(member("../../etc/hello", b"x"))
    layout.manifest["layers"] = [layout.blob(archive, "application/vnd.oci.image.layer.v1.tar")]
    layout.config["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(archive).hexdigest()}"]


def setting(path: str, value: object) -> Damage:
    def damage(layout: Layout) -> None:
        name, *inner = path.split(".")
        place = getattr(layout, name)
        for step in inner[:-1]:
            place = place[int(step) if step.isdigit() else step]
        place[inner[-1]] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (several, "2 images for amd64"),
        (deep, "indexes in one another"),
        (other_layer, "as the configuration says"),
        (traversing, "leads out of the image"),
        (setting("version.imageLayoutVersion", "2.0.0"), "imageLayoutVersion"),
        (setting("layer.size", 1), "bytes, want 1, as .*layers says"),
        (setting("layer.size", None), "size: found nothing"),
        (setting("layer.digest", "sha256:" + "0" * 64), "found no such file"),
        (setting("layer.digest", "sha256:../../index.json"), "64 hexadecimal digits"),
        (setting("layer.digest", "md5:1"), "64 hexadecimal digits"),
        (setting("layer.digest", 7), "digest: found 7"),
        (setting("config.rootfs", []), "rootfs"),
        (setting("config.rootfs", {"diff_ids": []}), "0 layers"),
        (setting("manifest.layers", "x"), "layers"),
        (setting("manifest.layers", ["x"]), "want a JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_image(layout: Layout, damage: Damage, said: str) -> None:
    damage(layout)
    with pytest.raises(SourceError, match=said):
        open_layout(layout.finish())


@pytest.mark.parametrize(
    "index", [{}, {"manifests": []}, {"manifests": [7]}, {"manifests": [{"mediaType": "text/plain"}]}, []]
)
def test_an_index_without_an_image(layout: Layout, index: object) -> None:
    layout.index = index
    with pytest.raises(SourceError):
        open_layout(layout.finish())


def test_a_bomb_is_refused_at_the_limit(layout: Layout) -> None:
    data = gzip.compress(bytes(20 << 20))
    layout.manifest["layers"] = [layout.blob(data, "application/vnd.oci.image.layer.v1.tar+gzip")]
    with pytest.raises(SourceError, match="unpacked"):
        open_layout(layout.finish(), limit=10 << 20)


def test_a_place_that_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="oci-layout: found no such file"):
        open_layout(str(tmp_path))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bit_that_flips_in_a_blob_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    layout = Layout(tmp_path_factory.mktemp("flip") / "layout")
    place = Path(layout.finish())
    blob = data.draw(st.sampled_from(sorted((place / "blobs/sha256").iterdir())))
    content = bytearray(blob.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    blob.write_bytes(content)
    with pytest.raises(SourceError, match="sha256"):
        open_layout(str(place))


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("text", [b"", b"\xff", b"[" * 100_000, b"7", b'{"manifests": 7}', bytes(5 << 20)])
def test_documents_that_are_none(layout: Layout, name: str, text: bytes) -> None:
    place = Path(layout.finish())
    (place / name).write_bytes(text)
    with pytest.raises(SourceError):
        open_layout(str(place))
