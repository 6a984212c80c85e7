"""
One reader of layouts, two users: files for a new image, and images that are verified and run.

What is hostile or damaged is refused to both; what only another tool's habits are, to the second alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from images.errors import SourceError
from images.layout.contents import contents_of
from images.layout.errors import LayoutError
from images.layout.files import ChosenFiles, read_files
from images.layout.graph import parse
from images.layout.layers import archives
from images.layout.unpack import unpack
from images.oci_source import open_layout
from tests.fakes import layouts
from tests.fakes.layouts import PREFIX, put, replaced
from tests.images.layout.test_graph import Files, edited, named

BOMB = 8 << 20


def taken(place: Path) -> bytes | None:
    """What `shim build --from` does with a layout."""
    return open_layout(str(place), limit=BOMB).read("/bin/hi")


def run(place: Path, into: Path) -> bytes:
    """What `shim verify-image` and `shim run` do with one."""
    layout = parse(read_files(place), str(place))
    (image,) = layout.manifests()
    assert contents_of(layout).images == (image,)
    into.mkdir()
    unpack(archives(layout, image, BOMB), into, "img")
    return (into / "bin/hello").read_bytes()


def one_layer(data: bytes, kind: str = f"{PREFIX}.layer.v1.tar+gzip") -> Files:
    """Return a layout whose one layer is this, with a configuration that fits an honest archive."""
    files = layouts.layout()
    config, manifest = named(files, "config"), named(files, "manifest")
    document = json.loads(files[manifest])
    for one in document["layers"]:
        del files[f"blobs/sha256/{one['digest'][7:]}"]
    document["layers"] = [put(files, kind, data)]
    archive = gzip.decompress(data) if data.startswith(b"\x1f\x8b") and len(data) < 1 << 16 else b""
    settings = json.loads(files.pop(config))
    settings["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(archive).hexdigest()}"]
    document["config"] = put(files, f"{PREFIX}.config.v1+json", json.dumps(settings).encode())
    entry = json.loads(files["index.json"])
    del files[manifest]
    entry["manifests"][0] |= put(files, f"{PREFIX}.manifest.v1+json", json.dumps(document).encode())
    files["index.json"] = json.dumps(entry).encode()
    return files


def altered(kind: str, change: Callable[[bytes], bytes]) -> Files:
    files = layouts.layout()
    name = named(files, kind)
    return files | {name: change(files[name])}


def gone(kind: str) -> Files:
    files = layouts.layout()
    del files[named(files, kind)]
    return files


def twice(files: Files) -> Files:
    """Two members of one name: readers differ in which they take."""
    text = files["index.json"]
    return files | {"index.json": text.replace(b'"schemaVersion"', b'"manifests":[],"schemaVersion"', 1)}


def deep() -> Files:
    files = layouts.layout()
    for _ in range(5):
        inner = json.dumps(
            json.loads(files["index.json"]) | {"mediaType": f"{PREFIX}.index.v1+json"}
        ).encode()
        entry = put(files, f"{PREFIX}.index.v1+json", inner)
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return files


def archive(name: str, data: bytes | str = b"x") -> bytes:
    return gzip.compress(layouts.tar({name: data}), mtime=0)


HOSTILE: dict[str, Callable[[], Files]] = {
    **{
        f"{how} {kind}": lambda kind=kind, change=change: altered(kind, change)  # type: ignore[misc]
        for kind in ("manifest", "config", "layer")
        for how, change in (
            ("a bit of the", lambda data: data[:-1] + bytes((data[-1] ^ 1,))),
            ("a byte less of the", lambda data: data[:-1]),
            ("a byte more of the", lambda data: data + b" "),
        )
    },
    **{f"no {kind}": lambda kind=kind: gone(kind) for kind in ("manifest", "config", "layer")},  # type: ignore[misc]
    "a digest that is a path": lambda: edited(
        layouts.layout(), "index.json", lambda value: value["manifests"][0].update(digest="sha256:../../index.json")  # type: ignore[index]
    ),
    "an image that is an index, too": lambda: edited(
        layouts.layout(), named(layouts.layout(), "manifest"), lambda value: value.update(manifests=[])
    ),
    "a name twice": lambda: twice(layouts.layout()),
    "indexes without an end": deep,
    "another version": lambda: layouts.layout() | {"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'},
    "no version": lambda: {name: data for name, data in layouts.layout().items() if name != "oci-layout"},
    "no index": lambda: {name: data for name, data in layouts.layout().items() if name != "index.json"},
    "an index that is nested too deeply": lambda: layouts.layout() | {"index.json": b"[" * 100_000},
    "a document of 5 MiB": lambda: layouts.layout() | {"index.json": bytes(5 << 20)},
    "a path that leads out": lambda: one_layer(archive("../../evil")),
    "an absolute path": lambda: one_layer(archive("/etc/evil")),
    "a layer of something else": lambda: one_layer(gzip.compress(b"no archive at all" * 99, mtime=0)),
    "a bomb in gzip": lambda: one_layer(gzip.compress(bytes(64 << 20))),
    "a bomb in zstd": lambda: one_layer(zstandard.compress(bytes(64 << 20)), f"{PREFIX}.layer.v1.tar+zstd"),
    "a layer cut off": lambda: replaced(
        layouts.layout(), named(layouts.layout(), "layer"), gzip.compress(layouts.tar(layouts.FILES))[:40]
    ),
    "a layer of an unknown kind": lambda: one_layer(archive("a"), f"{PREFIX}.layer.v1.tar+xz"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_both_refuse_what_is_hostile(tmp_path: Path, name: str) -> None:
    place = layouts.write(HOSTILE[name](), tmp_path / "img")
    with pytest.raises(SourceError):
        taken(place)
    with pytest.raises(LayoutError):
        run(place, tmp_path / "root")
    assert {path.name for path in tmp_path.iterdir()} <= {"img", "root"}
    assert not [path for path in (tmp_path / "root").rglob("*") if path.name == "evil"]


def test_both_read_what_is_honest(tmp_path: Path) -> None:
    place = layouts.write(layouts.layout(), tmp_path / "img")
    assert taken(place) == run(place, tmp_path / "root") == b"\x7fELF hello"


def docker() -> Files:
    """An image of whose parts all have Docker's names, as some tools keep them."""
    files = layouts.layout()
    manifest = named(files, "manifest")
    document = json.loads(files[manifest])
    document["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    for one in document["layers"]:
        one["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    del files[manifest]
    entry = put(files, document["mediaType"], json.dumps(document).encode())
    index = {"schemaVersion": 2, "manifests": [entry]}
    inner = put(
        files, "application/vnd.docker.distribution.manifest.list.v2+json", json.dumps(index).encode()
    )
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()
    return files


def left_over() -> Files:
    files = layouts.layout()
    put(files, "text/plain", b"of an image before")
    return files


def padded() -> Files:
    data = gzip.compress(layouts.tar(layouts.FILES), mtime=0)
    files = one_layer(data)
    return replaced(files, named(files, "layer"), data + bytes(512))


def of_others() -> Files:
    """Beside the image: one for another machine whose blobs are not there, and a document."""
    files = layouts.layout(("amd64", (layouts.tar(layouts.FILES),)), ("arm64", (layouts.tar({"a": b"b"}),)))
    index = json.loads(files["index.json"])
    for one in index["manifests"]:
        if one["platform"]["architecture"] == "arm64":
            document = json.loads(files.pop(f"blobs/sha256/{one['digest'][7:]}"))
            for part in (document["config"], *document["layers"]):
                del files[f"blobs/sha256/{part['digest'][7:]}"]
    index["manifests"].append({"mediaType": "text/plain", "digest": "sha256:" + "0" * 64, "size": 1})
    files["index.json"] = json.dumps(index).encode()
    return files


@pytest.mark.parametrize("made", [docker, left_over, padded, of_others], ids=lambda made: made.__name__)
def test_habits_of_other_tools_are_for_the_first_alone(tmp_path: Path, made: Callable[[], Files]) -> None:
    place = layouts.write(made(), tmp_path / "img")
    assert taken(place) == b"\x7fELF hello"
    with pytest.raises(LayoutError):
        run(place, tmp_path / "root")


def test_files_of_other_tools_beside_a_layout(tmp_path: Path) -> None:
    place = layouts.write(layouts.layout(), tmp_path / "img")
    (place / "umoci.json").write_text("{}")
    (place / "index.json").rename(tmp_path / "elsewhere")
    (place / "index.json").symlink_to(tmp_path / "elsewhere")
    assert taken(place) == b"\x7fELF hello"
    with pytest.raises(LayoutError):
        run(place, tmp_path / "root")


def test_a_pipe_in_the_place_of_a_blob_holds_nobody_up(tmp_path: Path) -> None:
    files = layouts.layout()
    place = layouts.write(files, tmp_path / "img")
    blob = place / named(files, "layer")
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(SourceError, match="no regular file"):
        taken(place)
    with pytest.raises(LayoutError, match="no regular file"):
        run(place, tmp_path / "root")


def test_what_was_checked_is_what_is_used(tmp_path: Path) -> None:
    files = layouts.layout()
    place = layouts.write(files, tmp_path / "img")
    chosen = ChosenFiles(place)
    name = named(files, "layer")
    assert chosen[name] == files[name]
    (place / name).write_bytes(b"other")
    assert chosen[name] == files[name]
    assert list(chosen) == [name]
    assert "blobs/sha256/../../x" not in chosen
    assert "../img/index.json" not in chosen


def test_no_more_is_read_than_fits(tmp_path: Path) -> None:
    files = layouts.layout()
    place = layouts.write(files, tmp_path / "img")
    chosen = ChosenFiles(place, len(files["index.json"]) + 10)
    assert chosen["index.json"]
    with pytest.raises(LayoutError, match=r"want at most 10 bytes"):
        chosen[named(files, "layer")]
