"""
Which claims about an image do accepted keys make?

A signature is checked before what it signs is parsed.  Signatures by keys that are not accepted say nothing,
not even that something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from images.layout import contents as layout_contents
from images.layout.contents import Contents
from images.layout.graph import Index, Layout, Manifest
from images.provenance import PREDICATE_TYPE
from images.signature import bundle, dsse, simple_signing, statement
from images.signature.dsse import Envelope
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.keys import PublicKey, signers
from images.signature.signing import SIGN_PREDICATE
from images.signature.simple_signing import Claim
from images.signature.statement import Statement
from images.signature.stored import signatures_in


@dataclass(frozen=True, slots=True)
class Signed:
    """A claim, and an accepted key that makes it."""

    claim: Claim
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Detached:
    """A bundle that is kept beside a layout: its bytes, and its name for messages."""

    data: bytes
    where: str


def claims_about(
    layout: Layout,
    contents: Contents,
    image: Manifest | Index,
    detached: Sequence[Detached],
    keys: Sequence[PublicKey],
) -> tuple[Signed, ...]:
    """
    Return what accepted keys say of an image, in the layout and in bundles beside it.

    Raises:
        SignatureFormatError: something that an accepted key signed is no claim; a signature is no base64.
    """
    digest = image.descriptor.digest
    found = [
        one
        for signature in contents.signatures
        if layout_contents.signed_digest(signature) == digest
        for one in _stored(layout, signature, keys)
    ]
    for one in detached:
        found += _in_bundle(layout, image, one, keys)
    return tuple(one for one in found if one.claim.digest == digest)


def count_signatures(contents: Contents, image: Manifest | Index) -> int:
    """Return how many signatures of an image a layout has, whoever made them."""
    mine = [
        len(signature.layers)
        for signature in contents.signatures
        if layout_contents.signed_digest(signature) == image.descriptor.digest
    ]
    return sum(mine)


def statement_by(
    envelope: Envelope, keys: Sequence[PublicKey], where: str
) -> tuple[Statement, tuple[PublicKey, ...]]:
    """
    Return the statement in an envelope, and which of `keys` signed it.

    Raises:
        SignatureError: none of the keys did.
        SignatureFormatError: one did, and it is no statement.
    """
    by = dsse.verify(envelope, statement.PAYLOAD_TYPE, keys, where)
    return statement.parse(envelope.payload, where), by


def _stored(layout: Layout, signature: Manifest, keys: Sequence[PublicKey]) -> Iterator[Signed]:
    for stored in signatures_in(layout, signature):
        for key in signers(stored.signature, stored.payload, keys):
            where = f"{layout.where}: payload of signature {signature.descriptor.digest[:16]}"
            yield Signed(simple_signing.parse(stored.payload, where), key)


def _in_bundle(
    layout: Layout, image: Manifest | Index, one: Detached, keys: Sequence[PublicKey]
) -> Iterator[Signed]:
    content = bundle.parse(one.data, one.where).content
    if not isinstance(content, Envelope):
        try:
            by = bundle.verify_message(content, layout.blob(image.descriptor), keys, one.where)
        except SignatureError:
            return
        yield from (Signed(Claim(image.descriptor.digest), key) for key in by)
        return
    try:
        said, by = statement_by(content, keys, one.where)
    except SignatureError:
        return
    if said.predicate_type == PREDICATE_TYPE:
        return
    if said.predicate_type != SIGN_PREDICATE:
        raise SignatureFormatError(
            f"{one.where}.predicateType", repr(said.predicate_type)[:90], SIGN_PREDICATE
        )
    for subject in said.subjects:
        claim = simple_signing.claim_of(subject.sha256, subject.name, subject.annotations, one.where)
        yield from (Signed(claim, key) for key in by)
