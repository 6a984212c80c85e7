"""How does a policy come by the files of reference values that it names?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from attestation import files, policy, reference_values
from attestation.corim import manifest, signed
from attestation.errors import EvidenceFormatError
from attestation.policy import Policy
from attestation.policy_references import Named, Reference
from attestation.reference_values import Manifest, ReferenceValueError


def load_policy(path: Path) -> Policy:
    """
    Return the policy in a file, with the reference values of the files that it names.

    Raises:
        PolicyError: the policy cannot be used.
        ReferenceValueError: a file that it names cannot be.
    """
    text = files.read_policy(path)
    return policy.load(text, str(path), read_references(policy.named_files(text, str(path)), path.parent))


def read_references(names: Iterable[Named], folder: Path) -> Mapping[Named, Reference]:
    """
    Return what the files say that a policy names; relative names count from its folder.

    Raises:
        ReferenceValueError: a file is too large, cannot be read, holds something else, or was signed by
            another key than the policy names.
    """
    found: dict[Named, Reference] = {}
    for name in names:
        data = read(folder / name.file)
        key = None if name.key is None else read(folder / name.key)
        found[name] = Reference(
            parse_reference_values(data, name.file, key), hashlib.sha256(data).hexdigest()
        )
    return found


def parse_reference_values(data: bytes, where: str, key: bytes | None) -> Manifest:
    """
    Return the reference values in plain JSON, in a manifest (CoRIM) or in a signed one, whichever it is.

    Raises:
        ReferenceValueError: none of these; or a key was given, and nobody signed.
    """
    if data.startswith(signed.TAG):
        return signed.parse(data, where, key)
    if key is not None:
        raise ReferenceValueError(where, "nobody's signature", "that of the key which is named")
    if data.lstrip()[:1] == b"{":
        return reference_values.parse(data, where)
    return manifest.parse(data, where)


def read(path: Path) -> bytes:
    """
    Return the contents of a file of reference values.

    Raises:
        ReferenceValueError: it is too large or cannot be read.
    """
    try:
        return files.read_limited(path, "reference values")
    except EvidenceFormatError as error:
        raise ReferenceValueError(error.where, error.found, error.want) from error
