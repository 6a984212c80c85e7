"""
What does a PCK certificate say beyond X.509?

Intel's extension names the platform: its family, and the security versions that the key was derived for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation import der
from attestation.certificate import Certificate
from attestation.errors import EvidenceFormatError

SOURCE = 'Intel SGX PCK Certificate and CRL Profile Specification, rev. 1.5, section 1.3.5, "SGX Extensions"'
COMMON_NAME = "Intel SGX PCK Certificate"
_SGX = "1.2.840.113741.1.13.1"
# The identifiers inside it as DER has them: each is that of the whole, and one or two numbers more.
_WHOLE = bytes.fromhex("2a864886f84d010d01")
_PPID, _TCB, _PCE_ID, _FMSPC, _TYPE, _INSTANCE, _CONFIGURATION = (
    _WHOLE + bytes([number]) for number in range(1, 8)
)
_COMPONENTS = tuple(_TCB + bytes([number]) for number in range(1, 17))
_PCE_SVN, _CPU_SVN = _TCB + bytes([17]), _TCB + bytes([18])
_FLAGS = {
    "dynamic_platform": _CONFIGURATION + b"\1",
    "cached_keys": _CONFIGURATION + b"\2",
    "smt": _CONFIGURATION + b"\3",
}
SGX_TYPES = {0: "Standard", 1: "Scalable", 2: "Scalable with integrity"}


@dataclass(frozen=True, slots=True)
class PckExtensions:
    """
    Intel's extension of a PCK certificate.

    Attributes:
        ppid: The platform, 16 bytes.
        components: Security versions of the 16 components of the TCB.
        pce_svn: Security version of the provisioning certification enclave.
        cpu_svn: 16 bytes.
        pce_id: 2 bytes.
        fmspc: Family, model, stepping, platform type and custom SKU, 6 bytes.
        sgx_type: "Standard", "Scalable", or "Scalable with integrity".
        platform_instance_id: 16 bytes; None in certificates of single-socket platforms.
        flags: dynamic_platform, cached_keys and smt, where the certificate has them.
    """

    ppid: bytes
    components: tuple[int, ...]
    pce_svn: int
    cpu_svn: bytes
    pce_id: bytes
    fmspc: bytes
    sgx_type: str
    platform_instance_id: bytes | None
    flags: Mapping[str, bool]


def read_extensions(certificate: Certificate) -> PckExtensions:
    """
    Return Intel's extension of a PCK certificate.

    Raises:
        EvidenceFormatError: it is missing, or a part of it is, or has another encoding than the specified.

    Not checked:
        That they agree with any quote; that the certificate is genuine.

    Source:
        Intel SGX PCK Certificate and CRL Profile Specification, revision 1.5, section 1.3.5.
    """
    raw = certificate.extensions.get(_SGX)
    if raw is None:
        raise _wrong("SGX extension", f"no extension {_SGX}", "one")
    outer = list(der.elements(raw, COMMON_NAME))
    if len(outer) != 1 or outer[0][0] != der.SEQUENCE:
        raise _wrong("SGX extension", raw[:8].hex(), "one SEQUENCE")
    fields = _fields(outer[0][1])
    tcb = _fields(_contents(fields, _TCB, der.SEQUENCE, "TCB"))
    configuration = _fields(_contents(fields, _CONFIGURATION, der.SEQUENCE, "Configuration", optional=True))
    kind = _number(_contents(fields, _TYPE, der.ENUMERATED, "SGX Type"), "SGX Type")
    if kind not in SGX_TYPES:
        raise _wrong("SGX Type", str(kind), ", ".join(f"{number}" for number in SGX_TYPES))
    instance = _octets(fields, _INSTANCE, 16, "Platform Instance ID") if _INSTANCE in fields else None
    return PckExtensions(
        ppid=_octets(fields, _PPID, 16, "PPID"),
        components=tuple(
            _number(_contents(tcb, oid, der.INTEGER, f"TCB component {place}"), f"TCB component {place}")
            for place, oid in enumerate(_COMPONENTS, 1)
        ),
        pce_svn=_number(_contents(tcb, _PCE_SVN, der.INTEGER, "PCESVN"), "PCESVN"),
        cpu_svn=_octets(tcb, _CPU_SVN, 16, "CPUSVN"),
        pce_id=_octets(fields, _PCE_ID, 2, "PCE-ID"),
        fmspc=_octets(fields, _FMSPC, 6, "FMSPC"),
        sgx_type=SGX_TYPES[kind],
        platform_instance_id=instance,
        flags={
            name: _contents(configuration, oid, der.BOOLEAN, name) != b"\0"
            for name, oid in _FLAGS.items()
            if oid in configuration
        },
    )


def _fields(sequence: bytes) -> dict[bytes, tuple[int, bytes]]:
    """Return the values with their tags, by identifier, of a SEQUENCE OF SEQUENCE of both."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for tag, contents in der.elements(sequence, COMMON_NAME):
        pair = list(der.elements(contents, COMMON_NAME)) if tag == der.SEQUENCE else []
        if len(pair) != 2 or pair[0][0] != der.OBJECT_IDENTIFIER:
            raise _wrong("SGX extension", contents[:8].hex(), "pairs of identifier and value")
        (_, oid), value = pair
        if oid in found:
            raise _wrong("SGX extension", f"two of {oid.hex()}", "each once")
        found[oid] = value
    return found


def _contents(
    fields: Mapping[bytes, tuple[int, bytes]], oid: bytes, tag: int, name: str, *, optional: bool = False
) -> bytes:
    if optional and oid not in fields:
        return b""
    found, contents = fields.get(oid, (None, b""))
    if found != tag:
        raise _wrong(name, "nothing" if found is None else f"tag 0x{found:02x}", f"tag 0x{tag:02x}")
    return contents


def _octets(fields: Mapping[bytes, tuple[int, bytes]], oid: bytes, size: int, name: str) -> bytes:
    contents = _contents(fields, oid, der.OCTET_STRING, name)
    if len(contents) != size:
        raise _wrong(name, f"{len(contents)} bytes", f"{size} bytes")
    return contents


def _number(contents: bytes, name: str) -> int:
    if not 1 <= len(contents) <= 3 or contents[0] & 0x80:
        raise _wrong(name, contents.hex(), "a number of 0 to 65535")
    return int.from_bytes(contents, "big")


def _wrong(field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError(COMMON_NAME, field, found, want, SOURCE)
