"""
What does a manifest vouch for?

Only reference triples with digests become reference values.  What else it says is named with the reason why
it was left out: leaving a value out makes a verifier stricter, never laxer.

Source:
    draft-ietf-rats-corim-10, section 4, "Concise Reference Integrity Manifest (CoRIM)", and section 5,
    "Concise Module Identifier (CoMID)".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import UUID

from cbor2 import CBORTag

from attestation import cose, reference_values
from attestation.corim import terms, triples
from attestation.corim.terms import SOURCE, TAGS, array, mapping
from attestation.errors import EvidenceFormatError
from attestation.reference_values import Entry, Manifest, ReferenceValueError

_MEMBERS = frozenset(range(6))
_OTHER_MODULES = {terms.COSWID: "a CoSWID tag", terms.TRUST_LIST: "a list of tags"}
_OTHER_TRIPLES = {
    1: "endorsed values",
    2: "identities",
    3: "attestation keys",
    4: "dependencies of domains",
    5: "members of domains",
    6: "CoSWID triples",
    8: "series of conditional endorsements",
    10: "conditional endorsements",
}


def parse(data: bytes, where: str) -> Manifest:
    """
    Return the reference values of an unsigned manifest.

    Raises:
        ReferenceValueError: it is none, or says something that two readers could read in two ways.

    Not checked:
        That anybody vouches for it: `signed` does.  That it counts now: who uses it has to look.
    """
    try:
        return reference_values.checked(_manifest(data, where), where)
    except EvidenceFormatError as error:
        raise ReferenceValueError(error.where, error.found, error.want, error.source) from error


def _manifest(data: bytes, where: str) -> Manifest:
    value = cose.tagged_cbor(data, where, TAGS)
    if not isinstance(value, CBORTag) or value.tag != terms.MANIFEST:
        want = f"tag {terms.MANIFEST}: a manifest"
        raise EvidenceFormatError(where, "", type(value).__name__, want, SOURCE)
    members = mapping(value.value, where, _MEMBERS)
    if not isinstance(members.get(terms.ID), str | bytes | UUID):
        raise EvidenceFormatError(where, "id", repr(members.get(terms.ID))[:80], "text or a UUID", SOURCE)
    entries: list[Entry] = []
    left_out = ["manifests that it depends on"] if terms.DEPENDENT in members else []
    for place, module in enumerate(array(members.get(terms.MODULES), f"{where}.tags")):
        for found in _module(module, f"{where}.tags[{place}]"):
            if isinstance(found, Entry):
                entries.append(found)
            else:
                left_out.append(found)
    result = Manifest(tuple(entries), tuple(left_out), _profile(members))
    if terms.VALIDITY not in members:
        return result
    start, end = terms.validity(members[terms.VALIDITY], f"{where}.rim-validity")
    return replace(result, not_before=start, not_after=end)


def _module(value: object, where: str) -> Iterator[Entry | str]:
    """Yield the values of one module, and in words what else it has."""
    if not isinstance(value, CBORTag) or not isinstance(value.value, bytes):
        raise EvidenceFormatError(where, "", type(value).__name__, "a tag around bytes", SOURCE)
    if value.tag != terms.MODULE:
        yield f"{where}: {_OTHER_MODULES.get(value.tag, f'tag {value.tag}')}"
        return
    module = mapping(cose.tagged_cbor(value.value, where, TAGS), where)
    found = mapping(module.get(terms.TRIPLES), f"{where}.triples")
    for name in found:
        if name != terms.REFERENCE_TRIPLES:
            known = _OTHER_TRIPLES.get(name) if isinstance(name, int) else None
            yield f"{where}: {known or f'triples {str(name)[:40]}'}"
    if terms.REFERENCE_TRIPLES in found:
        place = f"{where}.reference-triples"
        for number, triple in enumerate(array(found[terms.REFERENCE_TRIPLES], place)):
            yield from triples.entries(triple, f"{place}[{number}]")


def _profile(members: Mapping[object, object]) -> str | None:
    """Return what stands there, in words; older drafts had a list."""
    if terms.PROFILE not in members:
        return None
    value = members[terms.PROFILE]
    value = value[0] if isinstance(value, list | tuple) and value else value
    value = value.value if isinstance(value, CBORTag) else value
    return f"oid:{value.hex()}" if isinstance(value, bytes) else str(value)[:200]
