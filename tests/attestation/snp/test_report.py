from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from attestation.errors import EvidenceFormatError
from attestation.snp import report
from attestation.snp.report import ALWAYS_RESERVED, FIELDS, RESERVED_IN_VERSION, SigningKey, parse
from tests.broken import manipulate
from tests.fakes.amd import Chip

# Offset and size of each field, from AMD 56860 r1.58, structure of ATTESTATION_REPORT; written down a second
# time so that a slip in the code shows.
LAYOUT = """
000 004 VERSION            004 004 GUEST_SVN          008 008 POLICY             010 010 FAMILY_ID
020 010 IMAGE_ID           030 004 VMPL               034 004 SIGNATURE_ALGO     038 008 CURRENT_TCB
040 008 PLATFORM_INFO      048 004 KEY_INFO           050 040 REPORT_DATA        090 030 MEASUREMENT
0c0 020 HOST_DATA          0e0 030 ID_KEY_DIGEST      110 030 AUTHOR_KEY_DIGEST  140 020 REPORT_ID
160 020 REPORT_ID_MA       180 008 REPORTED_TCB       188 001 CPUID_FAM_ID       189 001 CPUID_MOD_ID
18a 001 CPUID_STEP         1a0 040 CHIP_ID            1e0 008 COMMITTED_TCB      1e8 001 CURRENT_BUILD
1e9 001 CURRENT_MINOR      1ea 001 CURRENT_MAJOR      1ec 001 COMMITTED_BUILD    1ed 001 COMMITTED_MINOR
1ee 001 COMMITTED_MAJOR    1f0 008 LAUNCH_TCB         1f8 008 LAUNCH_MIT_VECTOR  200 008 CURRENT_MIT_VECTOR
2a0 048 SIGNATURE_R        2e8 048 SIGNATURE_S
""".split()  # noqa: SIM905  # a table that can be held against the specification
CHIP = Chip()


def test_every_field_is_where_the_specification_says() -> None:
    table = {name: (int(at, 16), int(size, 16)) for at, size, name in zip(*[iter(LAYOUT)] * 3, strict=True)}
    assert table == FIELDS


def test_fields_and_reserved_ranges_cover_every_byte_once() -> None:
    covered = [place for at, size in (*FIELDS.values(), *ALWAYS_RESERVED) for place in range(at, at + size)]
    assert sorted(covered) == list(range(report.SIZE))


@pytest.mark.parametrize("name", [name for name in FIELDS if not name.startswith("SIGNATURE")])
def test_every_field_is_read_from_its_bytes(name: str) -> None:
    offset, size = FIELDS[name]
    raw = bytearray(CHIP.report(5))
    before = parse(bytes(raw))
    raw[offset + size - 1 if size > 8 else offset] ^= {"VERSION": 1, "POLICY": 1, "KEY_INFO": 4}.get(name, 2)
    after = parse(bytes(raw))
    differences = {
        attribute
        for attribute in report.Report.__dataclass_fields__
        if attribute != "raw" and getattr(before, attribute) != getattr(after, attribute)
    }
    attribute = {
        "VERSION": "version",
        "KEY_INFO": "signing_key",
        "CPUID_FAM_ID": "cpuid",
        "CPUID_MOD_ID": "cpuid",
        "CPUID_STEP": "cpuid",
    }.get(name, name.lower())
    if name.startswith(("CURRENT_", "COMMITTED_")) and name.endswith(("BUILD", "MINOR", "MAJOR")):
        attribute = f"{name.partition('_')[0].lower()}_version"
    expected = {attribute} if name != "VERSION" else {attribute, "launch_mit_vector", "current_mit_vector"}
    assert differences == expected


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_known_version_is_read(version: int) -> None:
    read = parse(CHIP.report(version))
    assert read.version == version
    assert (read.cpuid is None) == (version == 2)
    assert (read.launch_mit_vector is None) == (version < 5)


@pytest.mark.parametrize("version", [0, 1, 6, 255, 2**32 - 1])
def test_unknown_version_is_refused(version: int) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        parse(CHIP.report(3, VERSION=version))
    assert (caught.value.field, caught.value.found, caught.value.offset) == ("VERSION", str(version), 0)


@pytest.mark.parametrize(
    ("version", "offset"),
    [
        (version, place)
        for version, ranges in RESERVED_IN_VERSION.items()
        for at, size in (*ALWAYS_RESERVED, *ranges)
        for place in {at, at + size - 1}
    ],
)
def test_reserved_byte_that_is_not_zero_is_refused(version: int, offset: int) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        parse(CHIP.report(version, damage={offset: 1}))
    assert (caught.value.field, caught.value.offset) == ("reserved", offset)


def test_version_4_is_read_as_far_as_3_and_5_agree() -> None:
    read = parse(CHIP.report(4, damage={0x1F8: 0xFF, 0x207: 0xFF}))
    assert read.cpuid == (0x19, 1, 1)
    assert read.launch_mit_vector is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("POLICY", 0x10000),  # bit 17 must be one
        ("SIGNATURE_ALGO", 0),
        ("SIGNATURE_ALGO", 2),
        ("VMPL", 4),
        ("VMPL", 0xFFFFFFFE),
        ("KEY_INFO", 2 << 2),
        ("KEY_INFO", 6 << 2),
        ("KEY_INFO", 1 << 5),
        ("KEY_INFO", 1 << 31),
    ],
)
def test_value_outside_the_specification_is_refused(field: str, value: int) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        parse(CHIP.report(3, **{field: value}))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("VMPL", 3),
        ("VMPL", 0xFFFFFFFF),
        ("POLICY", 0x3FF0000),
        ("POLICY", 1 << 63 | 0x20000),  # newer firmware may know bits that we do not
        ("PLATFORM_INFO", 0x65),  # Turin sets bit 6
        ("PLATFORM_INFO", 2**64 - 1),
        ("KEY_INFO", 7 << 2),
        ("KEY_INFO", 3),
    ],
)
def test_value_inside_the_specification_is_read(field: str, value: int) -> None:
    assert parse(CHIP.report(3, **{field: value})).version == 3


def test_key_information_is_taken_apart() -> None:
    read = parse(CHIP.report(3, KEY_INFO=0b00111))
    assert (read.signing_key, read.mask_chip_key, read.author_key_en) == (SigningKey.VLEK, True, True)


@pytest.mark.parametrize("place", [0x2A0 + 48, 0x2A0 + 71, 0x2E8 + 48, 0x2E8 + 71])
def test_scalar_beyond_384_bits_is_refused(place: int) -> None:
    raw = bytearray(CHIP.report())
    raw[place] = 1
    with pytest.raises(EvidenceFormatError, match="384 bits"):
        parse(bytes(raw))


def test_every_proper_prefix_is_malformed() -> None:
    for prefix in manipulate.every_proper_prefix(CHIP.report()):
        with pytest.raises(EvidenceFormatError):
            parse(prefix)


@given(st.binary(max_size=1300) | st.binary(min_size=report.SIZE, max_size=report.SIZE))
def test_only_our_error_escapes(data: bytes) -> None:
    try:
        parse(data)
    except EvidenceFormatError as error:
        assert error.exit_code == 10  # a property, not an expectation


def test_message_names_place_and_source() -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        parse(CHIP.report(3, SIGNATURE_ALGO=2))
    assert str(caught.value) == (
        "report.SIGNATURE_ALGO at 0x34: found 2, want 1 (ECDSA P-384 with SHA-384) "
        '(AMD 56860 r1.58, section 7.3, "Attestation", structure of ATTESTATION_REPORT)'
    )
