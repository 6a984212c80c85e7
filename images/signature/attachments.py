"""What kind of document is this, that is to be attached to an image?"""

from __future__ import annotations

from attestation import json_document
from attestation.json_document import JsonObject
from images.layout.errors import reading
from images.signature import bundle, statement
from images.signature.bundle import Bundle
from images.signature.dsse import MAX_ENVELOPE, Envelope
from images.signature.errors import SignatureFormatError
from images.signature.signing import Attachment, shown_of

SPDX, CYCLONEDX, OPENVEX = (
    "application/spdx+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.openvex+json",
)
MAX_ATTACHMENT = MAX_ENVELOPE
_KNOWN = "SPDX 2, CycloneDX or OpenVEX in JSON, or a bundle of sigstore"


def recognised(data: bytes, where: str) -> Attachment:
    """
    Return a document as it is attached, with the type that it says it has.

    Args:
        data: SPDX 2, CycloneDX or OpenVEX in JSON, or a bundle of sigstore version 0.3 by a key.
        where: Its name, for messages.

    Raises:
        SignatureFormatError: none of these, or larger than 64 MiB.

    Not checked:
        That it is a good one of its kind, and that a bundle is signed by anybody.

    Source:
        SPDX 2.3, section 6.1, "SPDX version"; CycloneDX 1.6, JSON, `bomFormat`; OpenVEX 0.2.0, "@context".
    """
    if len(data) > MAX_ATTACHMENT:
        raise SignatureFormatError(where, f"{len(data)} bytes", f"at most {MAX_ATTACHMENT} bytes")
    with reading(SignatureFormatError):
        document = json_document.read(data, where)
    if _says(document, "spdxVersion", "SPDX-2."):
        return Attachment(SPDX, data)
    if _says(document, "bomFormat", "CycloneDX"):
        return Attachment(CYCLONEDX, data)
    if _says(document, "@context", "https://openvex.dev/ns"):
        return Attachment(OPENVEX, data)
    if _says(document, "mediaType", "application/vnd.dev.sigstore.bundle"):
        return Attachment(bundle.MEDIA_TYPE, data, _shown(bundle.parse(data, where), where))
    raise SignatureFormatError(where, "a document of an unknown kind", _KNOWN)


def _says(document: JsonObject, name: str, beginning: str) -> bool:
    value = document.members.get(name)
    return isinstance(value, str) and value.startswith(beginning)


def _shown(found: Bundle, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(found.content, Envelope):
        return shown_of(None)
    return shown_of(statement.parse(found.content.payload, where).predicate_type)
