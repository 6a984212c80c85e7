"""What is signed is found and read by tools that are not ours, and stays whole when it is signed again."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from images.layout import contents as layout_contents
from images.layout.contents import SIGNATURE_TYPE, check_spelling, contents_of, digest_of, signature_tag
from images.layout.errors import LayoutError
from images.layout.graph import Layout, parse
from images.signature import bundle, simple_signing, statement
from images.signature.attachments import CYCLONEDX, OPENVEX, SPDX, recognised
from images.signature.dsse import Envelope
from images.signature.errors import SignatureFormatError
from images.signature.keys import PrivateKey
from images.signature.signing import (
    SIGN_PREDICATE,
    Attachment,
    Signing,
    attached,
    detached,
    signed,
    statement_attachment,
)
from images.signature.stored import ANNOTATION
from tests.fakes import layouts, registry
from tests.fakes.layouts import SBOM, new_key, public_pem
from tests.fakes.tools import ask, told

KEY, SECOND = new_key("release.pub"), new_key("second.pub", "ed25519")


def image_of(layout: Layout) -> str:
    return contents_of(layout).images[0].descriptor.digest


def with_sbom(files: dict[str, bytes] | None = None) -> Layout:
    layout = parse(files or layouts.layout(), "img")
    subject = contents_of(layout).images[0].descriptor
    return attached(layout, [(subject, Attachment(CYCLONEDX, SBOM))])


def signatures(layout: Layout) -> list[tuple[bytes, bytes]]:
    """Return payloads and signatures, read as cosign's specification says and by nothing of ours."""
    index = json.loads(layout.files["index.json"])
    tag = f"sha256-{image_of(layout)}.sig"
    named = [one for one in index["manifests"] if one.get("annotations", {}).get(registry.REFERENCE) == tag]
    found = []
    for one in named:
        manifest = json.loads(layout.files[registry.blob(one["digest"])])
        for layer in manifest["layers"]:
            assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
            signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
            found.append((layout.files[registry.blob(layer["digest"])], signature))
    return found


def openssl_verifies(key: PrivateKey, payload: bytes, signature: bytes, place: Path) -> bool:
    for name, data in (("pub", public_pem(key)), ("payload", payload), ("sig", signature)):
        (place / name).write_bytes(data)
    command = ("openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig", "payload")
    return ask(*command, place=place).returncode == 0


def test_openssl_verifies_what_is_stored_as_cosign_stores_it(tmp_path: Path) -> None:
    layout = signed(with_sbom(), Signing(KEY, "registry.example/app", 7))
    ((payload, signature),) = signatures(layout)
    assert openssl_verifies(KEY, payload, signature, tmp_path)
    assert not openssl_verifies(KEY, payload + b" ", signature, tmp_path)
    assert not openssl_verifies(new_key(), payload, signature, tmp_path)
    said = json.loads(payload)
    assert said["critical"] == {
        "identity": {"docker-reference": "registry.example/app"},
        "image": {"docker-manifest-digest": f"sha256:{image_of(layout)}"},
        "type": "cosign container image signature",
    }
    assert said["optional"]["tee-shim.version"] == "7"


def test_a_signature_is_a_referrer_too() -> None:
    layout = signed(with_sbom(), Signing(KEY))
    (signature,) = contents_of(layout).signatures
    assert signature.artifact_type == SIGNATURE_TYPE
    assert signature.subject is not None
    assert signature.subject.digest == image_of(layout)
    assert signature.descriptor.reference == signature_tag(image_of(layout))


def test_skopeo_pulls_image_signature_and_attachments(tmp_path: Path) -> None:
    layout = signed(with_sbom(), Signing(KEY, "registry.example/app", 7))
    with registry.serving(layout.files) as host:
        names = ["latest", signature_tag(image_of(layout))]
        names += [f"@sha256:{one.descriptor.digest}" for one in contents_of(layout).attachments]
        for place, name in enumerate(names):
            source = f"docker://{host}/app{name if name.startswith('@') else ':' + name}"
            told(
                "skopeo",
                "--insecure-policy",
                "copy",
                "--src-tls-verify=false",
                source,
                f"dir:{tmp_path}/{place}",
            )
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_bytes())
    (layer,) = manifest["layers"]
    assert (tmp_path / "1" / layer["digest"][7:]).read_bytes() == signatures(layout)[0][0]
    assert layer["annotations"][ANNOTATION] == base64.b64encode(signatures(layout)[0][1]).decode()


def test_umoci_still_unpacks_a_signed_image(tmp_path: Path) -> None:
    layout = signed(with_sbom(), Signing(KEY))
    place = layouts.write(layout.files, tmp_path / "img")
    told("umoci", "unpack", "--rootless", "--image", f"{place}:latest", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "rootfs" / "shim" / "plan").read_bytes() == b"plan"


def test_cosign_finds_what_it_looks_for_in_a_layout() -> None:
    """sigstore/cosign, pkg/oci/layout/write.go and index.go: by the annotation "kind", one image in a layout."""
    layout = signed(with_sbom(), Signing(KEY))
    kinds = [
        one.get("annotations", {}).get("kind") for one in json.loads(layout.files["index.json"])["manifests"]
    ]
    assert kinds == ["dev.cosignproject.cosign/image", None, "dev.cosignproject.cosign/sigs"]


def test_signing_again_replaces_and_signing_by_another_adds(tmp_path: Path) -> None:
    once = signed(with_sbom(), Signing(KEY, "app", 1))
    twice = signed(once, Signing(KEY, "app", 2))
    ((payload, _),) = signatures(twice)
    assert json.loads(payload)["optional"]["tee-shim.version"] == "2"
    both = signed(twice, Signing(SECOND, "app", 2))
    (first, second) = signatures(both)
    assert openssl_verifies(KEY, *first, tmp_path)
    assert SECOND.public.made(second[1], second[0])
    check_spelling(both, contents_of(both))
    assert digest_of(both, contents_of(both)) == digest_of(once, contents_of(once))


def test_what_was_said_of_less_does_not_stay() -> None:
    once = signed(parse(layouts.layout(), "img"), Signing(SECOND, "app", 1))
    more = signed(with_sbom(dict(once.files)), Signing(KEY, "app", 1))
    ((payload, signature),) = signatures(more)
    assert KEY.public.made(signature, payload)
    assert len(contents_of(more).attachments) == 1


def test_nothing_of_an_old_signature_is_left() -> None:
    once = signed(with_sbom(), Signing(SECOND, "app", 1))
    again = signed(signed(once, Signing(SECOND, "app", 2)), Signing(SECOND, "app", 1))
    assert again.files == once.files  # signatures of Ed25519 are the same each time


def test_attaching_twice_is_attaching_once() -> None:
    once = with_sbom()
    subject = contents_of(once).images[0].descriptor
    assert attached(once, [(subject, Attachment(CYCLONEDX, SBOM))] * 2).files == once.files


def test_each_of_several_images_is_signed() -> None:
    files = layouts.layout(("amd64", (layouts.tar(layouts.FILES),)), ("arm64", (layouts.tar({"a": b"b"}),)))
    layout = signed(parse(files, "img"), Signing(KEY, "app", 1))
    found = contents_of(layout)
    assert {layout_contents.signed_digest(one) for one in found.signatures} == {
        one.descriptor.digest for one in found.images
    }


@pytest.mark.parametrize("key", [KEY, SECOND], ids=["p256", "ed25519"])
def test_a_detached_signature_names_every_image(key: PrivateKey) -> None:
    layout = with_sbom()
    content = bundle.parse(detached(layout, Signing(key, "app", 7)), "bundle").content
    assert isinstance(content, Envelope)
    said = statement.parse(content.payload, "statement")
    assert said.predicate_type == SIGN_PREDICATE
    (subject,) = said.subjects
    assert (subject.name, subject.sha256) == ("app", image_of(layout))
    assert subject.annotations == {
        simple_signing.VERSION: "7",
        simple_signing.CONTENTS: f"sha256:{digest_of(layout, contents_of(layout))}",
    }


def test_provenance_is_attached_as_cosign_attaches_it() -> None:
    layout = with_sbom()
    subject = contents_of(layout).images[0].descriptor
    said = statement.write(
        (statement.Subject("", subject.digest, {}),), "https://slsa.dev/provenance/v1", {"a": 1}
    )
    attachment = statement_attachment(said, "https://slsa.dev/provenance/v1", KEY)
    (_, found) = contents_of(attached(layout, [(subject, attachment)])).attachments
    assert found.artifact_type == bundle.MEDIA_TYPE
    assert found.config.media_type == "application/vnd.oci.empty.v1+json"
    assert found.annotations == {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
    }


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (SBOM, CYCLONEDX),
        (layouts.SPDX, SPDX),
        (b'{"@context":"https://openvex.dev/ns/v0.2.0"}', OPENVEX),
        (bundle.over(b"x", KEY), bundle.MEDIA_TYPE),
        (detached(parse(layouts.layout(), "img"), Signing(KEY)), bundle.MEDIA_TYPE),
    ],
    ids=["cyclonedx", "spdx", "openvex", "message", "statement"],
)
def test_what_can_be_attached(data: bytes, kind: str) -> None:
    assert recognised(data, "it").artifact_type == kind


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"not json", b'{"bomFormat":"SPDX"}', b'{"spdxVersion":7}', b'{"@context":["https://openvex.dev/ns"]}',
     b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}', b" " * ((64 << 20) + 1)],
    ids=range(9),
)  # fmt: skip
def test_what_cannot_be_attached(data: bytes) -> None:
    with pytest.raises(SignatureFormatError):
        recognised(data, "it")


def test_an_index_that_has_no_canonical_spelling_is_not_signed() -> None:
    files = layouts.layout()
    files["index.json"] = files["index.json"].replace(
        b'"schemaVersion"', b'"more": 123456789012345678901, "schemaVersion"'
    )
    with pytest.raises(LayoutError, match="numbers that readers do not agree on"):
        signed(parse(files, "img"), Signing(KEY))
