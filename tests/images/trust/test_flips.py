"""
No byte of a signed image can be another.

First by somebody who changes a byte and nothing else; then by somebody who makes every digest fit again, up to
index.json, and lacks only the key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from images.layout.contents import LAYOUT_BYTES
from shim.canonical import canonical_bytes
from tests.fakes import layouts, trust
from tests.fakes.layouts import blob_named, replaced
from tests.fakes.trust import Case, entries

Refusals = Callable[..., list[str]]
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SBOM = "application/vnd.cyclonedx+json"


def blobs(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the name of each kind of blob."""
    found = {}
    for one in entries(files):
        kind = {SIGNATURE: "signature", BUNDLE: "provenance", SBOM: "sbom"}.get(
            one.get("artifactType", ""), "image"
        )
        found[f"{kind} manifest"] = blob_named(one)
        manifest = json.loads(files[blob_named(one)])
        found[f"{kind} config"] = blob_named(manifest["config"])
        found[f"{kind} layer"] = blob_named(manifest["layers"][0])
    return found


KINDS = [
    f"{kind} {part}"
    for kind in ("image", "signature", "provenance", "sbom")
    for part in ("manifest", "config", "layer")
]


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_every_byte_of_the_documents(case: Case, refusals: Refusals, name: str) -> None:
    data = case.signed[name]
    for place in range(len(data)):
        found = refusals({**case.signed, name: flipped(data, place, place % 8)})
        assert found, data[max(0, place - 30) : place + 30]
        assert name in found[0] or "img" in found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_of_every_blob(case: Case, refusals: Refusals, kind: str) -> None:
    name = blobs(case.signed)[kind]
    data = case.signed[name]
    for place in range(len(data)):
        (found,) = refusals({**case.signed, name: flipped(data, place, place % 8)})
        assert found.startswith(f"LayoutError: img/{name}: found sha256 ")
        assert found.endswith("want the digest that it is named by")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_missed(case: Case, refusals: Refusals, kind: str) -> None:
    name = blobs(case.signed)[kind]
    files = {other: data for other, data in case.signed.items() if other != name}
    assert refusals(files)[0].startswith(f"LayoutError: img/{name}: found no such file")


@pytest.mark.parametrize("kind", KINDS)
def test_one_more_byte_or_one_less(case: Case, refusals: Refusals, kind: str) -> None:
    name = blobs(case.signed)[kind]
    data = case.signed[name]
    for other in (data + b" ", data[:-1], b""):
        assert (
            f"img/{name}: found {len(other)} bytes, want {len(data)}"
            in refusals({**case.signed, name: other})[0]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_without_the_key_makes_it_fit(case: Case, refusals: Refusals, kind: str) -> None:
    """Every digest fits, and index.json has its canonical spelling."""
    name = blobs(case.signed)[kind]
    data = case.signed[name]
    for place in range(0, len(data), max(1, len(data) // 97)):
        files = replaced(case.signed, name, flipped(data, place, place % 8))
        assert refusals(files), (kind, data[max(0, place - 20) : place + 20])


def rewritten(name: str, edit: Callable[[Any], None]) -> Callable[[Mapping[str, bytes]], dict[str, bytes]]:
    """Return an attack: edit a JSON blob of some kind, and make everything fit."""

    def attack(files: Mapping[str, bytes]) -> dict[str, bytes]:
        place = "index.json" if name == "index.json" else blobs(files)[name]
        value = json.loads(files[place])
        edit(value)
        return replaced(files, place, canonical_bytes(value))

    return attack


def cosign_signature(files: Mapping[str, bytes]) -> bytes:
    manifest = json.loads(files[blobs(files)["signature manifest"]])
    return base64.b64decode(manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"])


def with_signature(change: Callable[[bytes], bytes]) -> Callable[[Mapping[str, bytes]], dict[str, bytes]]:
    def attack(files: Mapping[str, bytes]) -> dict[str, bytes]:
        made = base64.b64encode(change(cosign_signature(files))).decode()
        return rewritten(
            "signature manifest",
            lambda value: value["layers"][0]["annotations"].update(
                {"dev.cosignproject.cosign/signature": made}
            ),
        )(files)

    return attack


def dropped(kind: str) -> Callable[[Mapping[str, bytes]], dict[str, bytes]]:
    """Return an attack: take an entry and its blobs away."""

    def attack(files: Mapping[str, bytes]) -> dict[str, bytes]:
        index = json.loads(files["index.json"])
        index["manifests"] = [one for one in index["manifests"] if one.get("artifactType", "image") != kind]
        named = json.dumps(index)
        kept = {name: data for name, data in files.items() if not name.startswith("blobs/")}
        for name in blobs({**files, "index.json": named.encode()}).values():
            kept[name] = files[name]
        return {**kept, "index.json": canonical_bytes(index)}

    return attack


def doubled(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Attach something more."""
    index = json.loads(files["index.json"])
    more = dict(files)
    manifest = json.loads(files[blobs(files)["sbom manifest"]])
    manifest["layers"] = [layouts.put(more, SBOM, b'{"bomFormat":"CycloneDX","components":["none"]}')]
    entry = layouts.put(more, "application/vnd.oci.image.manifest.v1+json", canonical_bytes(manifest))
    index["manifests"].insert(1, entry | {"artifactType": SBOM})
    return {**more, "index.json": canonical_bytes(index)}


def another_image(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Put another image into the place of the signed one, with its signature, names and all."""
    index = json.loads(files["index.json"])
    other = layouts.layout(("amd64", (layouts.tar({"shim/plan": b"evil"}),)))
    (entry,) = entries(other)
    named = next(one for one in index["manifests"] if one.get("artifactType") == SIGNATURE)
    signature = json.loads(files[blob_named(named)])
    signature["subject"] = {key: entry[key] for key in ("mediaType", "digest", "size")}
    result = {
        **{name: data for name, data in other.items() if name.startswith("blobs/")},
        "oci-layout": LAYOUT_BYTES,
    }
    for part in (signature["config"], *signature["layers"]):
        result[blob_named(part)] = files[blob_named(part)]
    made = layouts.put(result, "application/vnd.oci.image.manifest.v1+json", canonical_bytes(signature))
    tag = f"sha256-{entry['digest'][7:]}.sig"
    made |= {"artifactType": SIGNATURE, "annotations": {"org.opencontainers.image.ref.name": tag}}
    index["manifests"] = [entry, made]
    return {**result, "index.json": canonical_bytes(index)}


ALTERED = "altered, or with something attached, after it was signed"
ATTACKS: Mapping[str, tuple[Callable[[Mapping[str, bytes]], dict[str, bytes]], str]] = {
    "the name of the image": (
        rewritten(
            "index.json",
            lambda v: v["manifests"][0]["annotations"].update({"org.opencontainers.image.ref.name": "x"}),
        ),
        ALTERED,
    ),
    "the platform of the image": (
        rewritten("index.json", lambda v: v["manifests"][0]["platform"].update(architecture="arm64")),
        ALTERED,
    ),
    "a note in the index": (rewritten("index.json", lambda v: v.update(annotations={"a": "b"})), ALTERED),
    "the order of entries": (
        rewritten("index.json", lambda v: v["manifests"].insert(0, v["manifests"].pop(1))),
        ALTERED,
    ),
    "the signature first": (
        rewritten("index.json", lambda v: v["manifests"].insert(0, v["manifests"].pop())),
        "another spelling, or other names of signatures",
    ),
    "the name of the signature": (
        rewritten("index.json", lambda v: v["manifests"][-1]["annotations"].clear()),
        "another spelling, or other names of signatures",
    ),
    "a note at the signature": (
        rewritten(
            "index.json", lambda v: v["manifests"][-1].update(platform={"os": "a", "architecture": "b"})
        ),
        "another spelling, or other names of signatures",
    ),
    "the SBOM away": (dropped(SBOM), ALTERED),
    "the provenance away": (dropped(BUNDLE), ALTERED),
    "the signature away": (dropped(SIGNATURE), "signatures: found none"),
    "one SBOM more": (doubled, ALTERED),
    "another image under the signature": (another_image, "signatures: found 0 of 1"),
    "the payload": (
        rewritten("signature layer", lambda v: v["optional"].update({"tee-shim.version": "9"})),
        "signatures: found 0 of 1",
    ),
    "the identity": (
        rewritten("signature layer", lambda v: v["critical"]["identity"].update({"docker-reference": "x"})),
        "signatures: found 0 of 1",
    ),
    "the contents": (
        rewritten(
            "signature layer", lambda v: v["optional"].update({"tee-shim.contents": "sha256:" + "0" * 64})
        ),
        "signatures: found 0 of 1",
    ),
    "the digest in the payload": (
        rewritten(
            "signature layer",
            lambda v: v["critical"]["image"].update({"docker-manifest-digest": "sha256:" + "0" * 64}),
        ),
        "signatures: found 0 of 1",
    ),
    "the first byte of the signature": (with_signature(lambda made: flipped(made, 0, 0)), "found 0 of 1"),
    "a byte inside of the signature": (with_signature(lambda made: flipped(made, 20, 3)), "found 0 of 1"),
    "the last byte of the signature": (
        with_signature(lambda made: flipped(made, len(made) - 1, 7)),
        "found 0 of 1",
    ),
    "a byte behind the signature": (with_signature(lambda made: made + bytes(1)), "found 0 of 1"),
    "no signature": (with_signature(lambda _: b""), "found 0 of 1"),
    "the spelling of the signature": (
        rewritten(
            "signature manifest",
            lambda v: v["layers"][0]["annotations"].update({"dev.cosignproject.cosign/signature": "YR=="}),
        ),
        "another spelling of base64",
    ),
    "the type of the payload": (
        rewritten("signature manifest", lambda v: v["layers"][0].update(mediaType="text/plain")),
        "mediaType: found 'text/plain'",
    ),
    "the subject of the signature": (
        rewritten("signature manifest", lambda v: v["subject"].update(digest="sha256:" + "0" * 64)),
        "only what belongs to an image in it",
    ),
    "the subject of the SBOM": (
        rewritten("sbom manifest", lambda v: v["subject"].update(digest="sha256:" + "0" * 64)),
        "only what belongs to an image in it",
    ),
    "the type of the SBOM": (
        rewritten("sbom manifest", lambda v: v.update(artifactType="text/plain")),
        "artifactType",
    ),
    "what the SBOM says": (rewritten("sbom layer", lambda v: v.update(components=["none"])), ALTERED),
    "the payload of the provenance": (
        rewritten("provenance layer", lambda v: v["dsseEnvelope"].update(payload="e30=")),
        ALTERED,
    ),
    "the signature of the provenance": (
        rewritten("provenance layer", lambda v: v["dsseEnvelope"]["signatures"][0].update(sig="YWJj")),
        ALTERED,
    ),
    "the key id of the provenance": (
        rewritten("provenance layer", lambda v: v["dsseEnvelope"]["signatures"][0].update(keyid="x")),
        ALTERED,
    ),
    "the entry point": (
        rewritten("image config", lambda v: v["config"].update(Entrypoint=["/bin/sh"])),
        "a signature of no image in it",
    ),
    "the digest of the unpacked layer": (
        rewritten("image config", lambda v: v["rootfs"].update(diff_ids=["sha256:" + "0" * 64])),
        "a signature of no image in it",
    ),
    "a note in the manifest": (
        rewritten("image manifest", lambda v: v.update(annotations={"a": "b"})),
        "a signature of no image",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_without_the_key(case: Case, refusals: Refusals, name: str) -> None:
    attack, message = ATTACKS[name]
    found = refusals(attack(case.signed))
    assert any(message in line for line in found), found


def test_what_the_builder_could_do_is_seen_as_well(case: Case, refusals: Refusals) -> None:
    """The layout is signed by whom the policy accepts, over provenance that was altered before."""
    files = dict(case.signed)
    altered = rewritten("provenance layer", lambda v: v["dsseEnvelope"]["signatures"][0].update(sig="YWJj"))(
        files
    )
    again = trust.signing.signed(
        trust.parse(altered, "img"), trust.Signing(case.release, layouts.IDENTITY, 7)
    )
    assert any(
        line.startswith("NOT_AUTHENTIC: img: application/vnd.dev.sigstore") for line in refusals(again.files)
    )


def test_a_spelling_of_others_is_not_exact(case: Case, refusals: Refusals) -> None:
    spaced = {**case.signed, "index.json": json.dumps(json.loads(case.signed["index.json"])).encode()}
    assert "index.json: found another spelling" in refusals(spaced)[0]
    spaced = {**case.signed, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    assert "oci-layout: found another spelling" in refusals(spaced)[0]
    assert refusals(spaced, changes={"signature.contents": "unchecked", "sbom": "unchecked"}) == []


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401  # JSON
    """Return the way to every value inside of a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, item in inside for way in ((*above, key), *places(item, (*above, key)))]


SIGNED = trust.case()
DOCUMENTS = (
    "index.json",
    *(kind for kind in KINDS if kind not in {"image layer", "provenance config", "sbom config"}),
)
OTHERS = (None, True, -1, 7, 1 << 60, 0.5, "", "x", "ä\n", [], {}, [[]], {"a": 1}, "sha256:" + "0" * 64)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_other_json_is_accepted(data: st.DataObject) -> None:
    """Any value in any document, replaced or taken away, everything above made to fit; the spelling is canonical."""
    kind = data.draw(st.sampled_from(DOCUMENTS))
    name = kind if kind == "index.json" else blobs(SIGNED.signed)[kind]
    value = json.loads(SIGNED.signed[name])
    *above, last = data.draw(st.sampled_from(places(value)))
    place = value
    for key in above:
        place = place[key]
    before = place[last]
    if data.draw(st.booleans()):
        del place[last]
    else:
        place[last] = data.draw(st.sampled_from(OTHERS))
        if place[last] == before and type(place[last]) is type(before):
            return
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    files = {**SIGNED.signed, name: text} if kind == "index.json" else replaced(SIGNED.signed, name, text)
    assert trust.refusals(SIGNED, files)
