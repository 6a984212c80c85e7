"""
What cosign signs of an image: a small JSON that names the digest of its manifest.

Source:
    sigstore/cosign, specs/SIGNATURE_SPEC.md, "Payloads"; containers/image, docs/containers-signature.5.md,
    "JSON data format".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from attestation import json_document
from attestation.json_document import JsonObject
from images.layout.errors import reading
from images.signature.errors import SignatureFormatError
from shim.canonical import canonical_bytes

MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
TYPE = "cosign container image signature"
MAX_PAYLOAD = 1 << 20
VERSION, CONTENTS = "tee-shim.version", "tee-shim.contents"
MAX_VERSION = (1 << 53) - 1
_VERSION = re.compile(r"0|[1-9][0-9]{0,15}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SOURCE = "cosign, specs/SIGNATURE_SPEC.md, Simple Signing"


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a signature says of one image.

    Attributes:
        digest: SHA-256 of the image's manifest, 64 hexadecimal digits.
        identity: The name that it was signed under, or "".
        version: Its number, or None: numbers only grow from one release to the next.
        contents: SHA-256 of all that its layout names beside signatures, or "" (`images.layout.contents`).
    """

    digest: str
    identity: str = ""
    version: int | None = None
    contents: str = ""

    def optional(self) -> dict[str, str]:
        """Return what is said beside that, as strings: cosign verify -a compares those."""
        version = {} if self.version is None else {VERSION: str(self.version)}
        return version | ({CONTENTS: f"sha256:{self.contents}"} if self.contents else {})


def payload(claim: Claim) -> bytes:
    """Return the canonical JSON that is signed."""
    return canonical_bytes(
        {
            "critical": {
                "identity": {"docker-reference": claim.identity},
                "image": {"docker-manifest-digest": f"sha256:{claim.digest}"},
                "type": TYPE,
            },
            "optional": claim.optional(),
        }
    )


def parse(data: bytes, where: str) -> Claim:
    """
    Return what a payload says; what its optional part holds for others is left alone.

    Raises:
        SignatureFormatError: it is none, or its version or contents are no such thing.

    Not checked:
        Who signed it.
    """
    if len(data) > MAX_PAYLOAD:
        raise SignatureFormatError(where, f"{len(data)} bytes", f"at most {MAX_PAYLOAD} bytes")
    with reading(SignatureFormatError):
        document = json_document.read(data, where)
        critical = document.part("critical")
        if set(document.members) - {"critical", "optional"}:
            raise SignatureFormatError(where, "members of another kind", "critical and optional", _SOURCE)
        if critical.text("type") != TYPE:
            raise critical.wrong("type", critical.members["type"], TYPE)
        image = critical.part("image")
        digest = _DIGEST.fullmatch(image.text("docker-manifest-digest"))
        if digest is None:
            raise image.wrong("docker-manifest-digest", image.members["docker-manifest-digest"], "a SHA-256")
        identity = critical.part("identity").text("docker-reference")
        given = document.members.get("optional")
        optional = JsonObject({}, where) if given is None else document.part("optional")
        return claim_of(digest[1], identity, optional.members, f"{where}.optional")


def claim_of(digest: str, identity: str, optional: Mapping[str, object], where: str) -> Claim:
    """Return a claim with the version and contents among optional values; raises SignatureFormatError."""
    return Claim(digest, identity, _version(optional, where), _contents(optional, where))


def _version(optional: Mapping[str, object], where: str) -> int | None:
    if VERSION not in optional:
        return None
    text = optional[VERSION]
    if not isinstance(text, str) or not _VERSION.fullmatch(text) or int(text) > MAX_VERSION:
        want = f"a string of a number, 0 to {MAX_VERSION}"
        raise SignatureFormatError(f"{where}.{VERSION}", repr(text)[:90], want)
    return int(text)


def _contents(optional: Mapping[str, object], where: str) -> str:
    if CONTENTS not in optional:
        return ""
    text = optional[CONTENTS]
    match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise SignatureFormatError(
            f"{where}.{CONTENTS}", repr(text)[:90], "sha256: and 64 hexadecimal digits"
        )
    return match[1]
