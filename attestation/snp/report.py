"""
What do the 1184 bytes of an attestation report say?

Layout only: nothing here knows whether anybody signed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from attestation.errors import EvidenceFormatError
from attestation.snp import bits

SOURCE = 'AMD 56860 r1.58, section 7.3, "Attestation", structure of ATTESTATION_REPORT'
SIZE = 0x4A0
SIGNED_SIZE = 0x2A0
SCALAR_SIZE = 72  # r and s are little-endian, zero-extended from 48 bytes
MAXIMUM_SCALAR = 1 << 384

# Name, offset and size in bytes of everything that is read.
FIELDS: dict[str, tuple[int, int]] = {
    "VERSION": (0x000, 4),
    "GUEST_SVN": (0x004, 4),
    "POLICY": (0x008, 8),
    "FAMILY_ID": (0x010, 16),
    "IMAGE_ID": (0x020, 16),
    "VMPL": (0x030, 4),
    "SIGNATURE_ALGO": (0x034, 4),
    "CURRENT_TCB": (0x038, 8),
    "PLATFORM_INFO": (0x040, 8),
    "KEY_INFO": (0x048, 4),
    "REPORT_DATA": (0x050, 64),
    "MEASUREMENT": (0x090, 48),
    "HOST_DATA": (0x0C0, 32),
    "ID_KEY_DIGEST": (0x0E0, 48),
    "AUTHOR_KEY_DIGEST": (0x110, 48),
    "REPORT_ID": (0x140, 32),
    "REPORT_ID_MA": (0x160, 32),
    "REPORTED_TCB": (0x180, 8),
    "CPUID_FAM_ID": (0x188, 1),
    "CPUID_MOD_ID": (0x189, 1),
    "CPUID_STEP": (0x18A, 1),
    "CHIP_ID": (0x1A0, 64),
    "COMMITTED_TCB": (0x1E0, 8),
    "CURRENT_BUILD": (0x1E8, 1),
    "CURRENT_MINOR": (0x1E9, 1),
    "CURRENT_MAJOR": (0x1EA, 1),
    "COMMITTED_BUILD": (0x1EC, 1),
    "COMMITTED_MINOR": (0x1ED, 1),
    "COMMITTED_MAJOR": (0x1EE, 1),
    "LAUNCH_TCB": (0x1F0, 8),
    "LAUNCH_MIT_VECTOR": (0x1F8, 8),
    "CURRENT_MIT_VECTOR": (0x200, 8),
    "SIGNATURE_R": (0x2A0, SCALAR_SIZE),
    "SIGNATURE_S": (0x2E8, SCALAR_SIZE),
}

# Must be zero in every version: offset and size in bytes.
ALWAYS_RESERVED = ((0x04C, 4), (0x18B, 21), (0x1EB, 1), (0x1EF, 1), (0x208, 152), (0x330, 368))

# What each version leaves reserved beyond that.  Version 4 was never published; machines of several clouds
# send it.  It stands between 3 and 5, so what those two agree on is read, and the 16 bytes in which they
# differ are neither read nor required to be zero.
RESERVED_IN_VERSION: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0x188, 3), (0x1F8, 16)),
    3: ((0x1F8, 16),),
    4: (),
    5: (),
}
HOST_VMPL = 0xFFFFFFFF  # what stands for a level where the host asked for the report
FIRST_VERSION_WITH_CPUID = 3
FIRST_VERSION_WITH_MITIGATIONS = 5


class SigningKey(IntEnum):
    """Who signed the report, as its bits 4:2 of the key information say."""

    VCEK = 0
    VLEK = 1
    NONE = 7


@dataclass(frozen=True, order=True, slots=True)
class FirmwareVersion:
    """Version of the firmware of the secure processor; compares in this order."""

    major: int
    minor: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}"


@dataclass(frozen=True, slots=True)
class Report:
    """
    An attestation report; every attribute is the field of the same name, bytes as they stand.

    Attributes:
        raw: The whole report, 1184 bytes.
        vmpl: 0 to 3, or 0xFFFFFFFF when the host asked for the report.
        current_tcb, reported_tcb, committed_tcb, launch_tcb: TCB_VERSION, 8 bytes; the layout depends on the
            product.
        cpuid: Family, model and stepping, or None in version 2.
        launch_mit_vector, current_mit_vector: Mitigation vectors, or None before version 5.
        signature_r, signature_s: The two numbers of the ECDSA signature.
    """

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    current_tcb: bytes
    platform_info: int
    author_key_en: bool
    mask_chip_key: bool
    signing_key: SigningKey
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid: tuple[int, int, int] | None
    chip_id: bytes
    committed_tcb: bytes
    current_version: FirmwareVersion
    committed_version: FirmwareVersion
    launch_tcb: bytes
    launch_mit_vector: int | None
    current_mit_vector: int | None
    signature_r: int
    signature_s: int

    @property
    def signed_bytes(self) -> bytes:
        """The part of the report that the signature covers, 672 bytes."""
        return self.raw[:SIGNED_SIZE]


def parse(raw: bytes) -> Report:
    """
    Return the report in `raw`, which must be exactly 1184 bytes.

    Versions 2, 3 and 5 are read as specified; version 4 as far as 3 and 5 agree.

    Raises:
        EvidenceFormatError: wrong length, a version, signature algorithm or signing key that is not known,
            a reserved field or bit that must be zero and is not.

    Not checked:
        The signature.  Bits of POLICY and PLATFORM_INFO that have no meaning yet: firmware newer than this
        code may set them, so they are left to the appraisal, which refuses them unless told otherwise.

    Source:
        AMD publication 56860, revision 1.58, section 7.3, "Attestation", structure of ATTESTATION_REPORT.
    """
    if len(raw) != SIZE:
        raise EvidenceFormatError("report", "", f"{len(raw)} bytes", f"{SIZE} bytes", SOURCE)
    version = _number(raw, "VERSION")
    if version not in RESERVED_IN_VERSION:
        raise _wrong("VERSION", str(version), "2, 3, 4 or 5")
    for offset, size in (*ALWAYS_RESERVED, *RESERVED_IN_VERSION[version]):
        _check_zero(raw, offset, size)
    _check_constants(raw)
    key_info = _number(raw, "KEY_INFO")
    return Report(
        raw=bytes(raw),
        version=version,
        guest_svn=_number(raw, "GUEST_SVN"),
        policy=_number(raw, "POLICY"),
        family_id=_bytes(raw, "FAMILY_ID"),
        image_id=_bytes(raw, "IMAGE_ID"),
        vmpl=_number(raw, "VMPL"),
        current_tcb=_bytes(raw, "CURRENT_TCB"),
        platform_info=_number(raw, "PLATFORM_INFO"),
        author_key_en=bool(key_info & 1),
        mask_chip_key=bool(key_info >> 1 & 1),
        signing_key=_signing_key(key_info),
        report_data=_bytes(raw, "REPORT_DATA"),
        measurement=_bytes(raw, "MEASUREMENT"),
        host_data=_bytes(raw, "HOST_DATA"),
        id_key_digest=_bytes(raw, "ID_KEY_DIGEST"),
        author_key_digest=_bytes(raw, "AUTHOR_KEY_DIGEST"),
        report_id=_bytes(raw, "REPORT_ID"),
        report_id_ma=_bytes(raw, "REPORT_ID_MA"),
        reported_tcb=_bytes(raw, "REPORTED_TCB"),
        cpuid=_cpuid(raw) if version >= FIRST_VERSION_WITH_CPUID else None,
        chip_id=_bytes(raw, "CHIP_ID"),
        committed_tcb=_bytes(raw, "COMMITTED_TCB"),
        current_version=_firmware_version(raw, "CURRENT"),
        committed_version=_firmware_version(raw, "COMMITTED"),
        launch_tcb=_bytes(raw, "LAUNCH_TCB"),
        launch_mit_vector=_mitigations(raw, version, "LAUNCH_MIT_VECTOR"),
        current_mit_vector=_mitigations(raw, version, "CURRENT_MIT_VECTOR"),
        signature_r=_scalar(raw, "SIGNATURE_R"),
        signature_s=_scalar(raw, "SIGNATURE_S"),
    )


def _check_constants(raw: bytes) -> None:
    policy = _number(raw, "POLICY")
    if not policy & bits.GUEST_POLICY_ALWAYS_ONE:
        raise _wrong("POLICY", f"bit 17 clear in 0x{policy:x}", "bit 17 set")
    algorithm = _number(raw, "SIGNATURE_ALGO")
    if algorithm != 1:
        raise _wrong("SIGNATURE_ALGO", str(algorithm), "1 (ECDSA P-384 with SHA-384)")
    vmpl = _number(raw, "VMPL")
    if vmpl > 3 and vmpl != HOST_VMPL:
        raise _wrong("VMPL", f"0x{vmpl:x}", "0 to 3, or 0xffffffff for a report that the host asked for")


def _signing_key(key_info: int) -> SigningKey:
    if key_info >> 5:
        raise _wrong("KEY_INFO", f"0x{key_info:x}", "bits 31:5 zero")
    try:
        return SigningKey(key_info >> 2 & 7)
    except ValueError as error:
        found = f"SIGNING_KEY {key_info >> 2 & 7}"
        raise _wrong("KEY_INFO", found, "0 (VCEK), 1 (VLEK) or 7 (none)") from error


def _scalar(raw: bytes, name: str) -> int:
    value = _number(raw, name)
    if value >= MAXIMUM_SCALAR:
        raise _wrong(name, f"a number of {value.bit_length()} bits", "at most 384 bits")
    return value


def _mitigations(raw: bytes, version: int, name: str) -> int | None:
    return _number(raw, name) if version >= FIRST_VERSION_WITH_MITIGATIONS else None


def _cpuid(raw: bytes) -> tuple[int, int, int]:
    return _number(raw, "CPUID_FAM_ID"), _number(raw, "CPUID_MOD_ID"), _number(raw, "CPUID_STEP")


def _firmware_version(raw: bytes, which: str) -> FirmwareVersion:
    return FirmwareVersion(
        _number(raw, f"{which}_MAJOR"), _number(raw, f"{which}_MINOR"), _number(raw, f"{which}_BUILD")
    )


def _check_zero(raw: bytes, offset: int, size: int) -> None:
    if any(raw[offset : offset + size]):
        first = next(place for place in range(offset, offset + size) if raw[place])
        raise EvidenceFormatError("report", "reserved", f"0x{raw[first]:02x}", "0", SOURCE, offset=first)


def _bytes(raw: bytes, name: str) -> bytes:
    offset, size = FIELDS[name]
    return bytes(raw[offset : offset + size])


def _number(raw: bytes, name: str) -> int:
    return int.from_bytes(_bytes(raw, name), "little")


def _wrong(name: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError("report", name, found, want, SOURCE, offset=FIELDS[name][0])
