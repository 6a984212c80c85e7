"""What the numbers in a manifest mean, and how its parts are taken out strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attestation.errors import EvidenceFormatError

SOURCE = "draft-ietf-rats-corim-10"
MANIFEST, COSWID, MODULE, TRUST_LIST = 501, 505, 506, 508
UUID_TAG, OID, SVN, MINIMUM_SVN, OPAQUE_BYTES = 37, 111, 552, 553, 560
# Times and URIs besides, and everything else that the draft defines.
TAGS = frozenset({1, 32, UUID_TAG, OID, MANIFEST, COSWID, MODULE, TRUST_LIST, *range(550, 565)})
# corim-map
ID, MODULES, DEPENDENT, PROFILE, VALIDITY, ENTITIES = range(6)
# concise-mid-tag, and in it triples-map
TAG_IDENTITY, TRIPLES, REFERENCE_TRIPLES = 1, 4, 0
# environment-map and class-map
CLASS, CLASS_ID, VENDOR, MODEL, LAYER, INDEX = 0, 0, 1, 2, 3, 4
# measurement-map and measurement-values-map
KEY, VALUES = 0, 1
VERSION, SECURITY_VERSION, DIGESTS, NAME, REGISTERS = 0, 1, 2, 11, 14
# IANA registry "Named Information Hash Algorithm".
ALGORITHMS: Mapping[int, str] = {1: "sha-256", 7: "sha-384", 8: "sha-512"}
# Whose evidence is meant, by vendor and model.
CLASSES: Mapping[str, tuple[str, str]] = {
    "snp": ("AMD", "SEV-SNP"),
    "tdx": ("Intel", "TDX"),
    "sgx": ("Intel", "SGX"),
    "azure-snp": ("Microsoft", "Azure confidential VM, SEV-SNP"),
    "azure-tdx": ("Microsoft", "Azure confidential VM, TDX"),
    "nitro": ("AWS", "Nitro Enclaves"),
    "nvidia": ("NVIDIA", "device"),
    "cca": ("Arm", "CCA realm"),
    "tpm": ("TCG", "TPM 2.0"),
    "simulated": ("tee-shim", "SIMULATED"),
}


def mapping(value: object, where: str, known: frozenset[int] | None = None) -> Mapping[object, object]:
    """
    Return a map with at least one name, and no other names than `known`, if that is given.

    Raises:
        EvidenceFormatError: it is none, or has.
    """
    if not isinstance(value, Mapping) or not value:
        raise EvidenceFormatError(where, "", type(value).__name__, "a map that is not empty", SOURCE)
    for name in value:
        if known is not None and name not in known:
            raise EvidenceFormatError(where, str(name)[:40], "an unknown member", "no such member", SOURCE)
    return value


def array(value: object, where: str, size: int | None = None) -> Sequence[object]:
    """
    Return an array of at least one element, or of `size`.

    Raises:
        EvidenceFormatError: it is none, or of another size.
    """
    if not isinstance(value, list | tuple) or not value or size not in {None, len(value)}:
        want = "an array that is not empty" if size is None else f"an array of {size} elements"
        raise EvidenceFormatError(where, "", type(value).__name__, want, SOURCE)
    return value


def validity(value: object, where: str) -> tuple[datetime | None, datetime]:
    """
    Return from when on something counts, which may be left open, and until when.

    Raises:
        EvidenceFormatError: it says something else.
    """
    found = mapping(value, where, frozenset({0, 1}))
    start, end = found.get(0), found.get(1)
    if not isinstance(end, datetime) or not isinstance(start, datetime | None):
        raise EvidenceFormatError(where, "validity", repr(value)[:80], "not-before and not-after", SOURCE)
    return start, end
