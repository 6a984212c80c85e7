"""
Signing a layout: what belongs to its images is attached, then every image is signed as cosign signs.

Bytes in, bytes out; who writes them is `images.layout.writing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from images.layout import contents as layout_contents
from images.layout.artifact import Artifact, Part
from images.layout.contents import Contents
from images.layout.descriptor import Descriptor
from images.layout.files import INDEX_FILE, LAYOUT_FILE
from images.layout.graph import Index, Layout, Manifest, manifests_in, parse, pruned
from images.signature import bundle, dsse, simple_signing, statement
from images.signature.keys import PrivateKey
from images.signature.simple_signing import Claim
from images.signature.statement import Subject
from images.signature.stored import Stored, artifact_of, signatures_in

SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


@dataclass(frozen=True, slots=True)
class Attachment:
    """
    Something to be attached to an image.

    Attributes:
        artifact_type: What it is.
        data: The thing itself.
        annotations: What registries show of it.
    """

    artifact_type: str
    data: bytes
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Signing:
    """
    How a layout is signed.

    Attributes:
        key: Who signs.
        identity: The name under which the image is known, or "".
        version: Its number, or None.
    """

    key: PrivateKey
    identity: str = ""
    version: int | None = None


def attached(
    layout: Layout,
    attachments: Sequence[tuple[Descriptor, Attachment]],
    instead: frozenset[str] = frozenset(),
) -> Layout:
    """
    Return a layout with things attached to its images; what is there already stays as it is, once.

    Args:
        layout: Whatever it was signed with says less than it holds now.
        attachments: Each with the image that it belongs to.
        instead: Digests of manifests of attachments that these take the place of.

    Raises:
        LayoutError: as `images.layout.contents.contents_of`.

    Source:
        OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage".
    """
    found = layout_contents.contents_of(layout)
    gone = {f"sha256:{digest}" for digest in instead}
    others, files = [one for one in found.others if one["digest"] not in gone], dict(layout.files)
    known = {one.descriptor.digest for one in found.attachments}
    for subject, attachment in attachments:
        part = Part(attachment.artifact_type, attachment.data)
        artifact = Artifact(attachment.artifact_type, subject, (part,), None, dict(attachment.annotations))
        if artifact.manifest().descriptor.digest not in known:
            known.add(artifact.manifest().descriptor.digest)
            others.append(artifact.entry())
            files |= artifact.files()
    files[INDEX_FILE] = layout_contents.index_bytes(layout.index.members, others, found.signatures)
    return parse(pruned(files, layout.where), layout.where) if gone else parse(files, layout.where)


def unsigned_in(layout: Layout, subject: Descriptor, said: bytes) -> frozenset[str]:
    """
    Return the digests of the manifests that attach this statement to an image without a signature.

    Raises:
        LayoutError: as `images.layout.contents.contents_of`.
    """
    return frozenset(
        one.descriptor.digest
        for one in layout_contents.contents_of(layout).attachments
        if one.artifact_type == statement.PAYLOAD_TYPE
        and one.subject is not None
        and one.subject.digest == subject.digest
        and [layout.blob(part) for part in one.layers] == [said]
    )


def signed(layout: Layout, signing: Signing) -> Layout:
    """
    Return a layout whose images are signed, in the spelling that leaves no byte open.

    Of an index every image inside is signed as well: registries give them out alone.

    Signatures of other keys stay if they are of the same contents; those that were of other contents are
    gone, and so is an earlier one of the same key.

    Raises:
        LayoutError: as `images.layout.contents.contents_of`.

    Source:
        sigstore/cosign, specs/SIGNATURE_SPEC.md, "Storage"; OCI image-spec 1.1, manifest.md, `subject`.
    """
    found = layout_contents.contents_of(layout)
    found = replace(found, others=layout_contents.marked(found))
    digest = layout_contents.digest_of(layout, found)
    artifacts = [_signatures(layout, found, one, digest, signing) for one in _signable(found)]
    files = dict(layout.files)
    for artifact in artifacts:
        files |= artifact.files()
    files[LAYOUT_FILE] = layout_contents.LAYOUT_BYTES
    named = [artifact.manifest() for artifact in artifacts]
    files[INDEX_FILE] = layout_contents.index_bytes(layout.index.members, found.others, named)
    return parse(pruned(files, layout.where), layout.where)


def detached(layout: Layout, signing: Signing) -> bytes:
    """
    Return a bundle of sigstore with one signature over the images of a layout, to be kept elsewhere.

    Raises:
        LayoutError: as `images.layout.contents.contents_of`.

    Source:
        sigstore/cosign, statements of predicate type https://sigstore.dev/cosign/sign/v1.
    """
    found = layout_contents.contents_of(layout)
    digest = layout_contents.digest_of(layout, found)
    subjects = []
    for image in found.images:
        claim = Claim(image.descriptor.digest, signing.identity, signing.version, digest)
        subjects.append(Subject(claim.identity, claim.digest, claim.optional()))
    return enveloped(statement.write(subjects, SIGN_PREDICATE, {}), signing.key)


def enveloped(said: bytes, key: PrivateKey) -> bytes:
    """Return a statement in an envelope that `key` signed, in a bundle of sigstore."""
    return bundle.around(dsse.sign(statement.PAYLOAD_TYPE, said, (key,)), key.public)


def statement_attachment(said: bytes, predicate_type: str, key: PrivateKey) -> Attachment:
    """Return a statement, such as provenance, as cosign attaches it: in a bundle, signed by `key`."""
    return Attachment(bundle.MEDIA_TYPE, enveloped(said, key), shown_of(predicate_type))


def unsigned_statement(said: bytes, predicate_type: str) -> Attachment:
    """
    Return a statement that nobody signed yet, as it is attached.

    Source:
        in-toto attestation framework 1.1, spec/v1/README.md; the annotation is that of BuildKit,
        docs/attestations/attestation-storage.md.
    """
    return Attachment(statement.PAYLOAD_TYPE, said, (("in-toto.io/predicate-type", predicate_type),))


def shown_of(predicate_type: str | None) -> tuple[tuple[str, str], ...]:
    """
    Return what registries show of a bundle: with a statement of some type, or None for a bare signature.

    Source:
        sigstore/cosign, specs/BUNDLE_SPEC.md, "Annotations".
    """
    if predicate_type is None:
        return (("dev.sigstore.bundle.content", "message-signature"),)
    return (
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", predicate_type),
    )


def _signable(found: Contents) -> list[Manifest | Index]:
    """Return the images and those inside of indexes, each once."""
    each = {one.descriptor.digest: one for image in found.images for one in (image, *manifests_in(image))}
    return list(each.values())


def _signatures(
    layout: Layout, found: Contents, image: Manifest | Index, contents: str, signing: Signing
) -> Artifact:
    """Return the signatures of one image: those that stay, and the new one."""
    subject = image.descriptor
    claim = Claim(subject.digest, signing.identity, signing.version, contents)
    said = simple_signing.payload(claim)
    kept = [
        stored
        for signature in found.signatures
        if layout_contents.signed_digest(signature) == subject.digest
        for stored in signatures_in(layout, signature)
        if _stays(stored, contents, signing.key, layout.where)
    ]
    return artifact_of(subject, (*kept, Stored(said, signing.key.sign(said))))


def _stays(stored: Stored, contents: str, key: PrivateKey, where: str) -> bool:
    if key.public.made(stored.signature, stored.payload):
        return False
    return simple_signing.parse(stored.payload, where).contents in ("", contents)
