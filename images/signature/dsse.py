"""
Envelopes around signed bytes of a stated type: DSSE.

Source:
    DSSE 1.0.2, protocol.md, "Signature Definition" and "Multi-signature Verification"; envelope.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation import json_document
from images.layout.errors import reading
from images.signature import base64_text
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.keys import PrivateKey, PublicKey, signers
from shim.canonical import JsonValue, canonical_bytes

MAX_ENVELOPE, MAX_SIGNATURES = 64 << 20, 64
_SOURCE = "DSSE 1.0.2, envelope.md"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, and the key that it says it is of: a hint, which nobody signed."""

    signature: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """Bytes, what they are, and signatures over both."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def value(self) -> dict[str, JsonValue]:
        """Return the envelope as JSON."""
        return {
            "payload": base64_text.encode(self.payload),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": one.key_id, "sig": base64_text.encode(one.signature)} for one in self.signatures
            ],
        }

    def encoded(self) -> bytes:
        """Return the canonical JSON of the envelope."""
        return canonical_bytes(self.value())


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: PAE(type, body) of protocol.md."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, keys: Sequence[PrivateKey]) -> Envelope:
    """Return an envelope signed by each of `keys`."""
    data = pre_authentication_encoding(payload_type, payload)
    return Envelope(
        payload_type, payload, tuple(Signature(key.sign(data), key.public.identifier) for key in keys)
    )


def verify(
    envelope: Envelope, payload_type: str, keys: Sequence[PublicKey], where: str
) -> tuple[PublicKey, ...]:
    """
    Return which of `keys` signed an envelope, each once; at least one did.

    Every signature is held against every key: what an envelope says of its keys decides nothing.

    Raises:
        SignatureError: none of the keys signed it.
        SignatureFormatError: it was signed, as something else than `payload_type`.
    """
    data = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    found = {key.identifier: key for one in envelope.signatures for key in signers(one.signature, data, keys)}
    if not found:
        made = f"{len(envelope.signatures)} by other keys, or altered" if envelope.signatures else "none"
        raise SignatureError(f"{where}: signatures", made, "one by an accepted key", _SOURCE)
    if envelope.payload_type != payload_type:
        raise SignatureFormatError(
            f"{where}.payloadType", repr(envelope.payload_type)[:90], payload_type, _SOURCE
        )
    return tuple(found.values())


def parse(data: bytes, where: str) -> Envelope:
    """
    Return the envelope that `data` holds.

    Raises:
        SignatureFormatError: no such JSON, or more than 64 MiB or 64 signatures.
    """
    if len(data) > MAX_ENVELOPE:
        raise SignatureFormatError(where, f"{len(data)} bytes", f"at most {MAX_ENVELOPE} bytes")
    with reading(SignatureFormatError):
        document = json_document.read(data, where)
        payload = base64_text.decode(document.text("payload"), f"{where}.payload", url_safe=True)
        found = tuple(
            Signature(
                base64_text.decode(part.text("sig"), f"{part.where}.sig", url_safe=True),
                part.text("keyid") if "keyid" in part else "",
            )
            for part in document.parts("signatures")
        )
        if len(found) > MAX_SIGNATURES:
            raise SignatureFormatError(f"{where}.signatures", str(len(found)), f"at most {MAX_SIGNATURES}")
        return Envelope(document.text("payloadType"), payload, found)
