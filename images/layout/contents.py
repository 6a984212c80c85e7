"""
Which entries of a layout are images, which belong to one, and which are signatures?

Signatures cannot cover themselves.  So index.json has one spelling: what is not a signature is covered by the
digest that signatures name as contents, and the entries of signatures follow from their manifests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attestation.json_document import JsonObject
from images.layout.descriptor import REFERENCE, Descriptor
from images.layout.errors import LayoutError
from images.layout.files import INDEX_FILE, LAYOUT_FILE
from images.layout.graph import VERSION, Index, Layout, Manifest, manifests_in
from shim.canonical import JsonValue, canonical_bytes

SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
_TAG = re.compile(r"sha256-([0-9a-f]{64})\.sig")
# By these cosign finds what is in a layout: sigstore/cosign, pkg/oci/layout/write.go and index.go.
KIND, _COSIGN = "kind", "dev.cosignproject.cosign"
_SIGNATURES, _ATTESTATIONS = f"{_COSIGN}/sigs", f"{_COSIGN}/atts"
_SOURCE = "cosign, specs/SIGNATURE_SPEC.md, Tag-based Discovery; OCI image-spec 1.1, manifest.md, subject"


@dataclass(frozen=True, slots=True)
class Contents:
    """
    The entries of a layout by what they are.

    Attributes:
        images: Images, for one platform each or as an index for several.
        attachments: What belongs to an image and is no signature: SBOMs, provenance.
        signatures: Signatures as cosign stores them.
        others: All entries but signatures, as they stand in index.json.
    """

    images: tuple[Manifest | Index, ...]
    attachments: tuple[Manifest, ...]
    signatures: tuple[Manifest, ...]
    others: tuple[Mapping[str, object], ...]


def signature_tag(digest: str) -> str:
    """Return the name under which the signatures of an image are found: cosign, "Tag-based Discovery"."""
    return f"sha256-{digest}.sig"


def contents_of(layout: Layout) -> Contents:
    """
    Return the entries of a layout by what they are.

    Raises:
        LayoutError: no image; something that belongs to an image which is not there, or to two; one image
            twice.
    """
    images, attachments, signatures, others = [], [], [], []
    for entry, value in zip(layout.entries, _values(layout), strict=True):
        if isinstance(entry, Manifest) and is_signature(entry):
            signatures.append(entry)
            continue
        others.append(value)
        if isinstance(entry, Manifest) and (entry.subject is not None or _kind(entry) == _ATTESTATIONS):
            attachments.append(entry)
        else:
            images.append(entry)
    if not images:
        raise LayoutError(f"{layout.where}/{INDEX_FILE}", "no image", "at least one")
    attachments, signatures = (
        [_belonging(one, images) for one in some] for some in (attachments, signatures)
    )
    found = Contents(tuple(images), tuple(attachments), tuple(signatures), tuple(others))
    _check_belonging(layout, found)
    return found


def is_signature(manifest: Manifest) -> bool:
    """Whether a manifest holds signatures, by its type or by what cosign looks for."""
    tagged = _TAG.fullmatch(manifest.descriptor.reference) is not None
    return tagged or manifest.artifact_type == SIGNATURE_TYPE or _kind(manifest) == _SIGNATURES


def signed_digest(signature: Manifest) -> str:
    """Return the digest of the manifest that signatures belong to; "" where nothing or two things say so."""
    tag = _TAG.fullmatch(signature.descriptor.reference)
    said = {tag[1]} if tag else set()
    said |= set() if signature.subject is None else {signature.subject.digest}
    return said.pop() if len(said) == 1 else ""


def digest_of(layout: Layout, contents: Contents) -> str:
    """Return the SHA-256 of index.json without the signatures, in its canonical spelling."""
    members = {**layout.index.members, "manifests": list(contents.others)}
    return hashlib.sha256(_canonical(members, layout.where)).hexdigest()


def check_spelling(layout: Layout, contents: Contents) -> None:
    """
    Check that index.json and oci-layout are spelled as `index_bytes` and `LAYOUT_BYTES` have it.

    With the digest of the contents, that leaves no byte of the layout that could be another.

    Raises:
        LayoutError: one of them is not.
    """
    want = "the spelling that shim sign writes"
    if layout.files[LAYOUT_FILE] != LAYOUT_BYTES:
        raise LayoutError(f"{layout.where}/{LAYOUT_FILE}", "another spelling", want)
    if layout.files[INDEX_FILE] != index_bytes(layout.index.members, contents.others, contents.signatures):
        raise LayoutError(
            f"{layout.where}/{INDEX_FILE}", "another spelling, or other names of signatures", want
        )


LAYOUT_BYTES = canonical_bytes({"imageLayoutVersion": VERSION})


def index_bytes(
    members: Mapping[str, object], others: Sequence[Mapping[str, object]], signatures: Iterable[Manifest]
) -> bytes:
    """Return index.json: what it says itself, its entries, and behind them the signatures in order."""
    named = sorted(signatures, key=lambda one: (signed_digest(one), one.descriptor.digest))
    return _canonical({**members, "manifests": [*others, *map(_signature_entry, named)]}, INDEX_FILE)


def _signature_entry(signature: Manifest) -> dict[str, JsonValue]:
    named = signature.descriptor
    noted = {REFERENCE: signature_tag(signed_digest(signature)), KIND: _SIGNATURES}
    return Descriptor(named.media_type, named.digest, named.size, SIGNATURE_TYPE, noted).value()


def marked(contents: Contents) -> tuple[Mapping[str, object], ...]:
    """Return all entries but signatures, the images among them marked so that cosign finds them."""
    kinds = {
        f"sha256:{image.descriptor.digest}": "image" if isinstance(image, Manifest) else "imageIndex"
        for image in contents.images
    }
    return tuple(_marked(value, kinds.get(str(value["digest"]))) for value in contents.others)


def _marked(value: Mapping[str, object], kind: str | None) -> Mapping[str, object]:
    if kind is None:
        return value
    annotations = JsonObject(value, "entry").part("annotations").members if "annotations" in value else {}
    return {**value, "annotations": {KIND: f"{_COSIGN}/{kind}", **annotations}}


def _kind(entry: Manifest) -> str:
    return entry.descriptor.annotations.get(KIND, "")


def _belonging(entry: Manifest, images: Sequence[Manifest | Index]) -> Manifest:
    """Return an entry with the image that it belongs to: a layout of cosign has one, and does not name it."""
    if entry.subject is None and not _TAG.fullmatch(entry.descriptor.reference) and len(images) == 1:
        return replace(entry, subject=images[0].descriptor)
    return entry


def _values(layout: Layout) -> list[Mapping[str, object]]:
    return [part.members for part in layout.index.parts("manifests")]


def _check_belonging(layout: Layout, contents: Contents) -> None:
    where = f"{layout.where}/{INDEX_FILE}"
    named = [image.descriptor.digest for image in contents.images]
    if len(set(named)) != len(named):
        raise LayoutError(where, "one image twice", "each image once")
    inside = [one.descriptor for image in contents.images for one in manifests_in(image)]
    known = {one.digest: (one.media_type, one.size) for one in inside}
    known |= {
        one.digest: (one.media_type, one.size) for one in (image.descriptor for image in contents.images)
    }
    for one in (*contents.attachments, *contents.signatures):
        subject = one.subject
        if subject is not None and known.get(subject.digest) != (subject.media_type, subject.size):
            found = f"{one.artifact_type}, which belongs to {subject.digest}"
            raise LayoutError(where, found, "only what belongs to an image in it", _SOURCE)
    for signature in contents.signatures:
        if signed_digest(signature) not in known:
            raise LayoutError(
                where, "a signature of no image in it", "only signatures of its images", _SOURCE
            )


def _canonical(members: Mapping[str, object], where: str) -> bytes:
    try:
        return canonical_bytes(members)  # type: ignore[arg-type]  # what JSON was read to
    except (ValueError, TypeError, RecursionError) as error:
        raise LayoutError(
            where, "numbers that readers do not agree on", "canonical JSON", "RFC 8785"
        ) from error
