"""How do reference values become a manifest?  One module, one triple per value, one digest each."""

from __future__ import annotations

import cbor2
from cbor2 import CBORTag

from attestation.corim import terms
from attestation.reference_values import UNKNOWN_KIND, Entry, ReferenceValueError
from shim.canonical import canonical_bytes

_NUMBERS = {name: number for number, name in terms.ALGORITHMS.items()}


def write(entries: tuple[Entry, ...], identifier: str) -> bytes:
    """
    Return an unsigned manifest, deterministically encoded: the same values, the same bytes.

    What decides a value besides its kind identifies the class of the environment: as canonical JSON in a
    class-id of opaque bytes, which others compare as a whole.

    Args:
        entries: At least one.
        identifier: Of the manifest and of its one module, by which others tell manifests apart.

    Raises:
        ReferenceValueError: there is none, or one of an unknown kind, which has no vendor and model.

    Source:
        draft-ietf-rats-corim-10, section 4.1, "CoRIM Map", and section 5, "Reference Values Triple";
        RFC 8949, section 4.2.1, "Core Deterministic Encoding Requirements".
    """
    if not entries:
        raise ReferenceValueError(identifier, "no values", "at least one: a manifest is never empty")
    triples = [_triple(entry) for entry in entries]
    module = {terms.TAG_IDENTITY: {0: identifier}, terms.TRIPLES: {terms.REFERENCE_TRIPLES: triples}}
    inner = cbor2.dumps(module, canonical=True)
    members = {terms.ID: identifier, terms.MODULES: [CBORTag(terms.MODULE, inner)]}
    return cbor2.dumps(CBORTag(terms.MANIFEST, members), canonical=True)


def _triple(entry: Entry) -> list[object]:
    if entry.tee == UNKNOWN_KIND:
        raise ReferenceValueError(entry.label, "an unknown kind of evidence", "one with vendor and model")
    vendor, model = terms.CLASSES[entry.tee]
    described: dict[int, object] = {terms.VENDOR: vendor, terms.MODEL: model}
    if entry.environment:
        described[terms.CLASS_ID] = CBORTag(terms.OPAQUE_BYTES, canonical_bytes(dict(entry.environment)))
    digest = [_NUMBERS[entry.algorithm], entry.digest]
    values = {terms.DIGESTS: [digest], terms.NAME: entry.label}
    return [{terms.CLASS: described}, [{terms.KEY: entry.register, terms.VALUES: values}]]
