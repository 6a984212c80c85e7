"""
What does an attestation document of the Nitro hypervisor say?

Layout only: nothing here knows whether anybody signed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from attestation import cose
from attestation.errors import EvidenceFormatError

SOURCE = "AWS Nitro Enclaves, NSM API, docs/attestation_process.md"
_REGISTERS = 32
_REGISTER_SIZES = frozenset({32, 48, 64})
_IMAGE_REGISTERS = (0, 1, 2)
_MEMBERS = frozenset(
    {
        "module_id",
        "digest",
        "timestamp",
        "pcrs",
        "certificate",
        "cabundle",
        "public_key",
        "user_data",
        "nonce",
    }
)
_LATEST = 253402300799999  # milliseconds: the end of the year 9999


@dataclass(frozen=True, slots=True)
class Document:
    """
    An attestation document; every attribute is the member of the same name.

    Attributes:
        pcrs: Registers by number: 0 the image, 1 kernel and boot ramdisk, 2 the user's applications, 3 the
            role, 4 the instance, 8 the certificate that signed the image.
        certificate: Of the key that signed the document, DER.
        cabundle: From the root to the issuer of `certificate`, DER.
        public_key, user_data, nonce: What the enclave put into it, or None.
    """

    module_id: str
    timestamp: datetime
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @property
    def debug(self) -> bool:
        """Whether the enclave runs for debugging: then the hypervisor does not say what was booted."""
        return not any(any(self.pcrs.get(number, b"")) for number in _IMAGE_REGISTERS)


def parse(payload: bytes) -> Document:
    """
    Return what the payload of a document says.

    Raises:
        EvidenceFormatError: it is none.

    Source:
        AWS Nitro Enclaves, NSM API, docs/attestation_process.md, section 3.2.2.2, "Syntactical validation".
    """
    members = cose.cbor(payload, "document")
    if not isinstance(members, Mapping) or not _MEMBERS.issuperset(members):
        found = type(members).__name__ if not isinstance(members, Mapping) else _unknown(members)
        raise _wrong("", found, f"a map of {', '.join(sorted(_MEMBERS))}")
    if members.get("digest") != "SHA384":
        raise _wrong("digest", _shown(members.get("digest")), "SHA384")
    name, milliseconds = members.get("module_id"), members.get("timestamp")
    if not isinstance(name, str) or not name:
        raise _wrong("module_id", _shown(name), "a name")
    if not isinstance(milliseconds, int) or not 0 < milliseconds <= _LATEST:
        raise _wrong("timestamp", _shown(milliseconds), "milliseconds since 1970")
    return Document(
        module_id=name,
        timestamp=datetime.fromtimestamp(milliseconds / 1000, UTC),
        pcrs=_registers(members.get("pcrs")),
        certificate=_octets("certificate", members.get("certificate"), 1, 1024),
        cabundle=_bundle(members.get("cabundle")),
        public_key=_optional("public_key", members.get("public_key")),
        user_data=_optional("user_data", members.get("user_data")),
        nonce=_optional("nonce", members.get("nonce")),
    )


def _registers(value: object) -> Mapping[int, bytes]:
    if not isinstance(value, Mapping) or not 1 <= len(value) <= _REGISTERS:
        raise _wrong("pcrs", _shown(value), f"a map of 1 to {_REGISTERS} registers")
    for number, register in value.items():
        if not isinstance(number, int) or not 0 <= number < _REGISTERS:
            raise _wrong("pcrs", _shown(number), f"numbers of 0 to {_REGISTERS - 1}")
        if not isinstance(register, bytes) or len(register) not in _REGISTER_SIZES:
            raise _wrong(f"pcrs[{number}]", _shown(register), "32, 48 or 64 bytes")
    return dict(sorted(value.items()))


def _bundle(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise _wrong("cabundle", _shown(value), "an array that is not empty")
    return tuple(_octets("cabundle", one, 1, 1024) for one in value)


def _octets(field: str, value: object, least: int, most: int) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise _wrong(field, _shown(value), f"{least} to {most} bytes")
    return value


def _optional(field: str, value: object) -> bytes | None:
    return None if value is None else _octets(field, value, 0, 1024)


def _unknown(members: Mapping[object, object]) -> str:
    return ", ".join(sorted(_shown(name) for name in members if name not in _MEMBERS))


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)[:60]


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("document", field, found, want, SOURCE)
