"""What a policy accepts, and every way in which it does not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from images import provenance
from images.layout.contents import contents_of
from images.layout.graph import parse
from images.provenance import Build, Input
from images.signature import bundle, dsse, signing, statement
from images.signature.signing import SIGN_PREDICATE, Attachment, Signing
from images.signature.simple_signing import Claim
from images.signature.statement import Subject
from images.trust.result import ImageRefusedError
from images.trust.verdict import Verdict, most_fundamental
from tests.fakes import layouts, trust
from tests.fakes.layouts import IDENTITY, SBOM, SPDX, new_key
from tests.fakes.trust import BUILDER, Case, judged

Refusals = Callable[..., list[str]]


def signed(case: Case, **more: Any) -> Mapping[str, bytes]:  # noqa: ANN401  # as trust.sign
    given = {"release": case.release, "builder": case.builder, **more}
    return trust.sign(case.unsigned, given.pop("release"), given.pop("builder"), **given).files


def test_a_good_image_is_accepted(case: Case) -> None:
    result = judged(case, case.signed)
    (image,) = result.images
    assert result.verdict is Verdict.ACCEPTED
    assert image.claim is not None
    assert (image.claim.version, image.claim.identity, image.platform) == (7, IDENTITY, "linux/amd64")
    assert [key.name for key in image.signers] == ["release.pub"]
    assert image.provenance is not None
    assert image.provenance.builder == BUILDER
    assert result.unchecked == ()


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_both_kinds_of_key_and_several_images(kind: str) -> None:
    files = layouts.layout(("amd64", (layouts.tar(layouts.FILES),)), ("arm64", (layouts.tar({"a": b"b"}),)))
    one = trust.case(files, kind=kind)
    result = judged(one, one.signed)
    assert [image.platform for image in result.images] == ["linux/amd64", "linux/arm64"]


def test_the_result_as_json(case: Case) -> None:
    value = judged(case, case.signed, changes={"sbom": "unchecked"}).value()
    assert (value["verdict"], value["unchecked"], value["refusals"]) == ("accepted", ["sbom"], [])
    with pytest.raises(ImageRefusedError) as caught:
        judged(case, case.unsigned)
    value = caught.value.result.value()
    assert value["verdict"] == "not signed as the policy asks"
    assert [row["verdict"] for row in value["refusals"]] == [  # type: ignore[index,union-attr]
        "not signed as the policy asks",
        "policy mismatch",
        "policy mismatch",
    ]
    assert caught.value.exit_code == 11


def test_the_most_fundamental_refusal_is_the_verdict() -> None:
    order = list(Verdict)
    for place, one in enumerate(order):
        assert most_fundamental(order[place:]) is one
    assert [one.exit_code for one in order] == [10, 11, 16, 17, 0]


def test_what_nobody_signed(case: Case, refusals: Refusals) -> None:
    found = refusals(case.unsigned, changes={"signature.contents": "unchecked", "sbom": "unchecked"})
    assert found[0].startswith("NOT_AUTHENTIC: img: image ")
    assert found[0].endswith("signatures: found none, want one by an accepted key of p.toml")
    assert any(line.startswith("POLICY_MISMATCH") and "provenance: found none" in line for line in found)


def test_another_key(case: Case, refusals: Refusals) -> None:
    files = signed(case, release=new_key())
    found = refusals(files)
    assert len(found) == 1
    assert "NOT_AUTHENTIC" in found[0]
    assert "found 0 of 1, the others altered or by other keys, want one by an accepted key" in found[0]


def test_the_key_of_the_builder_signs_no_image(case: Case, refusals: Refusals) -> None:
    assert "NOT_AUTHENTIC" in refusals(signed(case, release=case.builder))[0]


def test_the_key_of_the_image_signs_no_provenance(case: Case, refusals: Refusals) -> None:
    (found,) = refusals(signed(case, builder=case.release))
    assert found.startswith("NOT_AUTHENTIC: img: application/vnd.dev.sigstore.bundle.v0.3+json")


def test_a_second_signature_by_a_stranger_changes_nothing(case: Case, refusals: Refusals) -> None:
    again = signing.signed(parse(case.signed, "img"), Signing(new_key(), IDENTITY, 9))
    assert refusals(again.files) == []
    assert judged(case, again.files).images[0].claim == judged(case, case.signed).images[0].claim


def test_a_threshold_counts_keys_that_say_the_same(case: Case, refusals: Refusals) -> None:
    both = {"signature.keys": ["release.pub", "builder.pub"], "signature.threshold": 2}
    assert "found 1 of 1, the others" in refusals(case.signed, changes=both)[0]
    twice = signing.signed(parse(case.signed, "img"), Signing(case.builder, IDENTITY, 7))
    assert refusals(twice.files, changes=both) == []
    other = signing.signed(parse(case.signed, "img"), Signing(case.builder, IDENTITY, 8))
    assert "found 1 of 2" in refusals(other.files, changes=both)[0]


@pytest.mark.parametrize(
    ("version", "changes", "seen", "message"),
    [
        (2, {}, {}, "version: found 2, want at least 3, the minimum of p.toml"),
        (0, {}, {}, "version: found 0, want at least 3"),
        (None, {}, {}, "version: found none, want at least 3"),
        (7, {}, {IDENTITY: 8}, "version: found 7, want at least 8, which was accepted before"),
        (7, {"version.minimum": 8}, {IDENTITY: 2}, "version: found 7, want at least 8, the minimum"),
        (7, {"version.minimum": 8, "version.state": "unchecked"}, {IDENTITY: 9}, "want at least 8, the minimum"),
        (7, {}, {IDENTITY: 7}, None),
        (7, {}, {"another": 9}, None),
        (3, {}, {}, None),
        (7, {"version.state": "unchecked"}, {IDENTITY: 9}, None),
        (None, {"version.state": "unchecked", "version.minimum": "unchecked"}, {}, None),
    ],
)  # fmt: skip
def test_versions(
    case: Case,
    refusals: Refusals,
    version: int | None,
    changes: Mapping[str, Any],
    seen: Mapping[str, int],
    message: str | None,
) -> None:
    found = refusals(signed(case, version=version), changes=changes, seen=seen)
    assert len(found) == (message is not None)
    if message is not None:
        assert found[0].startswith("ROLLED_BACK: img: image ")
        assert message in found[0]


def test_an_old_image_in_the_place_of_a_new_one(case: Case, refusals: Refusals) -> None:
    """Both are signed by the same key; what tells them apart is the version."""
    old = trust.sign(
        layouts.layout(("amd64", (layouts.tar({"old": b""}),))), case.release, case.builder, version=6
    )
    seen = {IDENTITY: 7}
    assert refusals(case.signed, seen=seen) == []
    assert [line[:11] for line in refusals(old.files, seen=seen)] == ["ROLLED_BACK"]


def test_another_image_of_the_same_key(case: Case, refusals: Refusals) -> None:
    (found,) = refusals(signed(case, identity="registry.example/other", version=99))
    assert found.startswith("POLICY_MISMATCH")
    assert "identity: found 'registry.example/other', want 'registry.example/app'" in found
    assert refusals(signed(case, identity="x"), changes={"signature.identity": "unchecked"}) == []


@pytest.mark.parametrize(
    ("wanted", "sboms", "accepted"),
    [
        ("any", (SBOM,), True),
        ("any", (SPDX,), True),
        ("spdx", (SPDX, SBOM), True),
        ("spdx", (SBOM,), False),
        ("cyclonedx", (SPDX,), False),
        ("any", (), False),
        ("any", (b'{"@context":"https://openvex.dev/ns/v0.2.0"}',), False),
        ("unchecked", (), True),
    ],
)
def test_sboms(case: Case, refusals: Refusals, wanted: str, sboms: Sequence[bytes], accepted: bool) -> None:  # noqa: FBT001
    found = refusals(signed(case, sboms=sboms), changes={"sbom": wanted})
    assert found == [] if accepted else "SBOM: found application/" in found[0]


def built(**more: object) -> Build:
    given = {
        "builder": BUILDER,
        "command": ("shim", "build"),
        "inputs": (Input("", "11" * 32),),
        "tool_version": "0.1.0",
        **more,
    }
    return Build(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "messages"),
    [
        (built(), []),
        (built(inputs=(Input("urn:tee-shim:launcher:x", ""),)), []),
        (built(builder="https://build.example/ci2"), ["builder: found 'https://build.example/ci2', want https://build.example/ci"]),
        (built(builder="https://build.example/ci/"), ["builder: found"]),
        (built(build_type="urn:other"), ["build type: found 'urn:other'"]),
        (built(inputs=()), ["inputs: found none, want everything that the image was made from"]),
        (built(inputs=(Input("", "12" * 32),)), ["input: found sha256:1212"]),
        (built(inputs=(Input("urn:tee-shim:program:/bin/x", "12" * 32, "program"),)), ["input: found program urn:tee-shim:program"]),
        (built(inputs=(Input("", "11" * 32), Input("https://evil.example/", ""))), ["input: found https://evil.example/"]),
        (built(inputs=tuple(Input("", f"{place:02}" * 32) for place in range(20, 29))), ["input"] * 5 + ["inputs: found 4 more"]),
        (built(builder="a:b", build_type="c:d", inputs=()), ["builder", "build type", "inputs"]),
    ],
    ids=range(11),
)  # fmt: skip
def test_provenance(case: Case, refusals: Refusals, build: Build, messages: Sequence[str]) -> None:
    found = refusals(signed(case, build=build))
    assert len(found) == len(messages), found
    for line, message in zip(found, messages, strict=True):
        assert line.startswith("POLICY_MISMATCH: img: application/vnd.dev.sigstore.bundle.v0.3+json")
        assert message in line


def test_provenance_of_another_image(case: Case, refusals: Refusals) -> None:
    (found,) = refusals(signed(case, subject="cd" * 32))
    assert "POLICY_MISMATCH" in found
    assert "subject: found cdcdcdcdcdcdcdcd, want " in found


@pytest.mark.parametrize("first", [True, False])
def test_one_good_provenance_is_enough(case: Case, refusals: Refusals, first: bool) -> None:  # noqa: FBT001
    """Others may be by strangers, by certificates, or damaged: they are no provenance, in whatever order."""
    layout = parse(case.unsigned, "img")
    (image,) = contents_of(layout).images
    certified = json.loads(bundle.over(b"x", new_key()))
    certified["verificationMaterial"] = {"certificate": {"rawBytes": "YQ=="}}
    others = [Attachment(bundle.MEDIA_TYPE, data) for data in (b"{}", json.dumps(certified).encode())]
    said = provenance.write((Subject("", image.descriptor.digest, {}),), built())
    others.append(signing.statement_attachment(said, provenance.PREDICATE_TYPE, new_key()))
    good = signing.statement_attachment(said, provenance.PREDICATE_TYPE, case.builder)
    some = [good, *others] if first else [*others, good]
    for attachments, accepted in ((some, True), (others, False)):
        more = signing.attached(layout, [(image.descriptor, one) for one in attachments])
        found = refusals(
            signing.signed(more, Signing(case.release, IDENTITY, 7)).files, changes={"sbom": "unchecked"}
        )
        assert (found == []) is accepted, found
    assert [line.partition(":")[0] for line in found] == ["MALFORMED", "MALFORMED", "NOT_AUTHENTIC"]


def test_provenance_that_is_not_asked_for(case: Case, refusals: Refusals) -> None:
    changes = {"provenance": "unchecked"}
    assert refusals(signed(case, builder=new_key(), build=built(inputs=())), changes=changes) == []
    inputs = {"provenance.inputs": "unchecked", "provenance.build_types": "unchecked"}
    assert refusals(signed(case, build=built(inputs=(), build_type="c:d")), changes=inputs) == []


def test_a_signature_beside_the_layout(case: Case, refusals: Refusals) -> None:
    layout = parse(case.unsigned, "img")
    key = Signing(case.release, IDENTITY, 7)
    beside = {"sbom": "unchecked", "provenance": "unchecked", "signature.contents": "unchecked"}
    said = signing.detached(layout, key)
    assert refusals(case.unsigned, changes=beside, detached=[said]) == []
    assert "found 0 of 1" in refusals(case.unsigned, changes=beside, detached=[signing.detached(layout, Signing(new_key(), IDENTITY, 7))])[0]  # fmt: skip
    other = parse(layouts.layout(("amd64", (layouts.tar({"x": b""}),))), "other")
    assert (
        "NOT_AUTHENTIC" in refusals(case.unsigned, changes=beside, detached=[signing.detached(other, key)])[0]
    )
    hints = tuple(range(*(said.index(text) + edge for edge in (0, len(text)))) for text in (
        case.release.public.identifier.encode(), case.release.public.hint.encode()))  # fmt: skip
    for place in range(0, len(said), 7):
        altered = said[:place] + bytes((said[place] ^ 1,)) + said[place + 1 :]
        found = refusals(case.unsigned, changes=beside, detached=[altered])
        assert (found == []) == any(place in hint for hint in hints), said[place : place + 20]


def test_a_bare_signature_beside_the_layout_says_no_version(case: Case, refusals: Refusals) -> None:
    (image,) = parse(case.unsigned, "img").manifests()
    manifest = case.unsigned[f"blobs/sha256/{image.descriptor.digest}"]
    changes = {"sbom": "unchecked", "provenance": "unchecked", "signature.contents": "unchecked", "signature.identity": "unchecked"}  # fmt: skip
    said = [bundle.over(manifest, case.release)]
    assert "version: found none" in refusals(case.unsigned, changes=changes, detached=said)[0]
    changes |= {"version.minimum": "unchecked", "version.state": "unchecked"}
    assert refusals(case.unsigned, changes=changes, detached=said) == []
    for wrong in (bundle.over(manifest, new_key()), bundle.over(manifest + b" ", case.release)):
        assert "NOT_AUTHENTIC" in refusals(case.unsigned, changes=changes, detached=[wrong])[0]


def as_cosign_saves(case: Case, *, images: int = 1) -> dict[str, bytes]:
    """Return a layout as cosign save writes it: no tag and no subject, kinds instead, and a signature without ours."""
    files = dict(layouts.layout())
    (entry,) = trust.entries(files)
    digest = entry["digest"]
    said = (
        b'{"critical":{"identity":{"docker-reference":"registry.example/app"},"image":{"docker-manifest-digest":"'
        + digest.encode()
        + b'"},"type":"cosign container image signature"},"optional":null}'
    )
    kind = "application/vnd.oci.image.manifest.v1+json"
    layer = layouts.put(files, "application/vnd.dev.cosign.simplesigning.v1+json", said)
    made = base64.b64encode(case.release.sign(said)).decode()
    layer["annotations"] = {"dev.cosignproject.cosign/signature": made, "dev.sigstore.cosign/bundle": "{}"}
    config = layouts.put(files, "application/vnd.oci.image.config.v1+json", b'{"rootfs":{"type":"layers"}}')
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
    signature = layouts.put(files, kind, json.dumps(manifest).encode())
    about = provenance.write((Subject("", digest[7:], {}),), built())
    envelope = dsse.sign(statement.PAYLOAD_TYPE, about, (case.builder,)).encoded()
    part = layouts.put(files, "application/vnd.dsse.envelope.v1+json", envelope)
    attestation = layouts.put(files, kind, json.dumps({**manifest, "layers": [part]}).encode())
    for one, name in ((entry, "image"), (signature, "sigs"), (attestation, "atts")):
        one["annotations"] = {"kind": f"dev.cosignproject.cosign/{name}"}
    entries = [entry, signature, attestation]
    if images == 2:
        other = layouts.layout(("arm64", (b"",)))
        files = {**other, **files}
        entries += trust.entries(other)
    return {**files, "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode()}


def test_what_cosign_saved(case: Case, refusals: Refusals) -> None:
    files = as_cosign_saves(case)
    loose = {"sbom": "unchecked", "signature.contents": "unchecked", "version.minimum": "unchecked", "version.state": "unchecked"}  # fmt: skip
    assert refusals(files, changes=loose) == []
    assert "NOT_AUTHENTIC" in refusals(files, changes=loose | {"signature.keys": ["builder.pub"]})[0]
    strict = refusals(files, changes={"sbom": "unchecked"})
    assert any(
        "contents: found" in line and "want a signature over it, by shim sign" in line for line in strict
    )
    assert any("version: found none" in line for line in strict)
    assert "a signature of no image in it" in refusals(as_cosign_saves(case, images=2), changes=loose)[0]
    again = signing.signed(parse(files, "img"), Signing(case.release, IDENTITY, 7))
    assert refusals(again.files, changes={"sbom": "unchecked"}) == []


def test_provenance_beside_the_layout(case: Case, refusals: Refusals) -> None:
    layout = parse(case.unsigned, "img")
    (image,) = layout.manifests()
    said = provenance.write((Subject("", image.descriptor.digest, {}),), built())
    changes = {"sbom": "unchecked", "signature.contents": "unchecked"}
    beside = [
        signing.detached(layout, Signing(case.release, IDENTITY, 7)),
        signing.enveloped(said, case.builder),
    ]
    assert refusals(case.unsigned, changes=changes, detached=beside) == []
    beside[1] = signing.enveloped(said, case.release)
    assert "NOT_AUTHENTIC: bundle: signatures" in refusals(case.unsigned, changes=changes, detached=beside)[0]


def test_something_else_that_an_accepted_key_signed(case: Case, refusals: Refusals) -> None:
    (image,) = parse(case.unsigned, "img").manifests()
    about = (Subject("", image.descriptor.digest, {}),)
    said = signing.enveloped(trust.statement_of(about, "https://example.com/vulnerable"), case.release)
    found = refusals(case.signed, detached=[said])
    assert found == [
        "MALFORMED: bundle.predicateType: found 'https://example.com/vulnerable', want " + SIGN_PREDICATE
    ]


def test_claims_are_told_apart() -> None:
    assert Claim("a" * 64, "x", 1) != Claim("a" * 64, "x", 2)
