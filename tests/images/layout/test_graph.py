"""A layout is read whole or not at all: every blob fits what names it, and nothing is left over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from images.layout.contents import contents_of
from images.layout.errors import LayoutError
from images.layout.files import read_files
from images.layout.graph import Index, Manifest, parse, pruned
from shim.errors import ShimError
from tests.fakes import layouts
from tests.fakes.layouts import PREFIX, put, replaced
from tests.fakes.tools import told

Files = dict[str, bytes]


def named(files: Files, kind: str) -> str:
    """Return the name of the blob that index.json or the manifest of the image names as `kind`."""
    entry = json.loads(files["index.json"])["manifests"][0]
    manifest = f"blobs/sha256/{entry['digest'][7:]}"
    if kind == "manifest":
        return manifest
    document = json.loads(files[manifest])
    one = document["config"] if kind == "config" else document["layers"][0]
    return f"blobs/sha256/{one['digest'][7:]}"


def edited(files: Files, name: str, edit: Callable[[dict[str, object]], None]) -> Files:
    """Return a layout with another JSON document in it, digests and all."""
    value = json.loads(files[name])
    edit(value)
    return replaced(files, name, json.dumps(value).encode())


def test_an_image_with_its_parts() -> None:
    layout = parse(layouts.layout(), "img")
    (image,) = layout.entries
    assert isinstance(image, Manifest)
    assert image.descriptor.reference == "latest"
    assert image.descriptor.platform == "linux/amd64"
    assert [layer.media_type for layer in image.layers] == [f"{PREFIX}.layer.v1.tar+gzip"]
    assert contents_of(layout).images == (image,)


def test_several_images_and_indexes() -> None:
    files = layouts.layout(("amd64", (layouts.tar(layouts.FILES),)), ("arm64", (layouts.tar({"a": b"b"}),)))
    inner = json.loads(files["index.json"]) | {"mediaType": f"{PREFIX}.index.v1+json"}
    entry = put(files, f"{PREFIX}.index.v1+json", json.dumps(inner).encode())
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    layout = parse(files, "img")
    (index,) = layout.entries
    assert isinstance(index, Index)
    assert [one.descriptor.platform for one in layout.manifests()] == ["linux/amd64", "linux/arm64"]


def test_what_umoci_makes(tmp_path: Path) -> None:
    place = tmp_path / "img"
    told("umoci", "init", "--layout", place)
    told("umoci", "new", "--image", f"{place}:latest")
    layout = parse(read_files(place), "img")
    assert [one.descriptor.reference for one in layout.manifests()] == ["latest"]


@pytest.mark.parametrize("kind", ["manifest", "config", "layer"])
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda data: data[:-1], "bytes"),
        (lambda data: data + b"\n", "bytes"),
        (lambda data: bytes((data[0] ^ 1,)) + data[1:], "sha256"),
        (lambda data: data[:-1] + bytes((data[-1] ^ 0x80,)), "sha256"),
        (lambda _: None, "no such file"),
    ],
    ids=["shorter", "longer", "first byte", "last byte", "gone"],
)
def test_a_blob_that_is_not_what_names_it(
    kind: str, damage: Callable[[bytes], bytes | None], found: str
) -> None:
    files = layouts.layout()
    name = named(files, kind)
    data = damage(files.pop(name))
    if data is not None:
        files[name] = data
    with pytest.raises(LayoutError) as caught:
        parse(files, "img")
    assert caught.value.where == f"img/{name}"
    assert found in caught.value.found


def test_a_blob_that_nothing_names() -> None:
    files = layouts.layout()
    put(files, "text/plain", b"more")
    with pytest.raises(LayoutError, match=r"img/blobs/sha256: found \w+, which nothing names"):
        parse(files, "img")
    assert pruned(files, "img") == layouts.layout()


def without(name: str) -> Callable[[dict[str, object]], None]:
    def edit(value: dict[str, object]) -> None:
        del value[name]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("manifests"), r"index.json.manifests: found nothing, want an array"),
        (without("schemaVersion"), r"schemaVersion: found nothing"),
        (lambda value: value.update(schemaVersion=1), r"schemaVersion: found 1, want 2"),
        (lambda value: value.update(manifests=[]), r"which nothing names"),
        (lambda value: value["manifests"].append(value["manifests"][0]), r"found one image twice"),
        (lambda value: value["manifests"][0].update(digest="sha512:" + "0" * 128), r"digest: found 'sha512:0+"),
        (lambda value: value["manifests"][0].update(digest="sha256:../../../etc/passwd"), r"digest: found 'sha256:\.\."),
        (lambda value: value["manifests"][0].update(digest="sha256:" + "AB" * 32), r"digest: found 'sha256:ABAB"),
        (lambda value: value["manifests"][0].update(digest="sha256:" + "0" * 64), r"found no such file"),
        (lambda value: value["manifests"][0].update(size=-1), r"size: found -1"),
        (lambda value: value["manifests"][0].update(size=1), r"bytes, want 1, as"),
        (lambda value: value["manifests"][0].update(size=True), r"size: found True"),
        (lambda value: value["manifests"][0].update(mediaType="text/plain"), r"mediaType: found 'text/plain'"),
        (lambda value: value["manifests"][0].update(mediaType=f"{PREFIX}.index.v1+json"), r"mediaType: found"),
        (lambda value: value["manifests"][0].update(annotations=[1]), r"annotations|JSON object"),
        (lambda value: value["manifests"][0].update(data="aGVsbG8="), r"data: found other bytes"),
        (lambda value: value["manifests"][0].update(data="!"), r"data: found no base64"),
        (lambda value: value["manifests"][0].update(artifactType="x/y"), r"artifactType"),
        (lambda value: value["manifests"].__setitem__(0, 7), r"want a JSON object"),
    ],
)  # fmt: skip
def test_an_index_that_is_none(edit: Callable[[dict[str, object]], None], message: str) -> None:
    files = edited(layouts.layout(), "index.json", edit)
    with pytest.raises(LayoutError, match=message):
        contents_of(parse(files, "img"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("config"), r"want a JSON object"),
        (without("layers"), r"found neither, want either manifests or layers"),
        (lambda value: value.update(manifests=[]), r"found manifests and layers"),
        (lambda value: value.update(mediaType=f"{PREFIX}.index.v1+json"), r"mediaType"),
        (lambda value: value.update(schemaVersion=3), r"schemaVersion: found 3"),
        (lambda value: value.update(subject={"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 1}),
         r"found no image|which belongs to"),
        (lambda value: value["layers"][0].update(size=5), r"want 5, as"),
        (lambda value: value["layers"][0].update(digest="sha256:" + "0" * 64), r"no such file"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none(edit: Callable[[dict[str, object]], None], message: str) -> None:
    files = layouts.layout()
    with pytest.raises(LayoutError, match=message):
        contents_of(parse(edited(files, named(files, "manifest"), edit), "img"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("oci-layout", None, "oci-layout: found no such file"),
        ("oci-layout", b"{}", "imageLayoutVersion: found nothing"),
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "found '2.0.0', want 1.0.0"),
        ("index.json", None, "index.json: found no such file"),
        ("index.json", b"", "JSON"),
        ("index.json", b"[]", "want a JSON object"),
        ("index.json", b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}', "the same name twice"),
        ("index.json", b'{"a":NaN}', "NaN"),
        ("index.json", b"[" * 100_000, "JSON"),
        ("index.json", b" " * ((4 << 20) + 1), "want at most 4194304 bytes"),
    ],
)
def test_documents_that_are_none(name: str, data: bytes | None, message: str) -> None:
    files = layouts.layout()
    del files[name]
    if data is not None:
        files[name] = data
    with pytest.raises(LayoutError, match=message):
        parse(files, "img")


def test_a_layout_without_an_image() -> None:
    files = {
        "oci-layout": layouts.layout()["oci-layout"],
        "index.json": b'{"schemaVersion":2,"manifests":[]}',
    }
    with pytest.raises(LayoutError, match="found no image, want at least one"):
        contents_of(parse(files, "img"))


def test_indexes_without_an_end() -> None:
    files = layouts.layout()
    for _ in range(5):
        inner = json.loads(files["index.json"]) | {"mediaType": f"{PREFIX}.index.v1+json"}
        entry = put(files, f"{PREFIX}.index.v1+json", json.dumps(inner).encode())
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with pytest.raises(LayoutError, match="more than 3 indexes in one another"):
        parse(files, "img")


def test_more_manifests_than_anybody_has() -> None:
    files = layouts.layout()
    value = json.loads(files["index.json"])
    files["index.json"] = json.dumps(value | {"manifests": value["manifests"] * 1001}).encode()
    with pytest.raises(LayoutError, match="more than 1000 manifests"):
        parse(files, "img")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_layout_or_an_error(data: st.DataObject) -> None:
    files = layouts.layout()
    name = data.draw(st.sampled_from(sorted(files)))
    text = data.draw(
        st.one_of(st.binary(max_size=80), st.just(files[name][: data.draw(st.integers(0, 400))]))
    )
    if text == files[name]:
        return
    broken = replaced(files, name, text) if text and data.draw(st.booleans()) else {**files, name: text}
    try:
        contents_of(parse(broken, "img"))
    except ShimError as error:
        assert str(error)
