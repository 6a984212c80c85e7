"""Enclave images: what is in them, what they measure to, and every way in which one is damaged."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID
from hypothesis import given, strategies as st

from attestation import cose
from images import eif, eif_format, eif_signature
from images.boot_errors import BootImageError, CommandLineError, EifError, KernelError
from images.eif import Description, Parts
from images.eif_format import MAXIMUM_SECTIONS, Section, SectionKind
from images.eif_signature import Signer
from tests.broken import manipulate
from tests.fakes.bzimage import LIMIT, RELEASE, kernel

KERNEL = kernel()
LINE = "console=ttyS0 reboot=k"
FIRST, SECOND, THIRD = b"070701 first", b"070701second", b"\x1f\x8b third"
PARTS = Parts(KERNEL, LINE, (FIRST, SECOND, THIRD))
ABOUT = Description("hello", "1.0", "shim", "0.1.0", 1_700_000_000)
IMAGE = eif.image(PARTS, ABOUT)
HEADER, CRC_AT = 548, 544
# PCR2 of images with one ramdisk, as many have published it: nothing is behind the first.
NOTHING = "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"


@functools.cache
def signer(curve: type[ec.EllipticCurve] = ec.SECP384R1, other: bool = False) -> Signer:  # noqa: FBT001, FBT002
    key = ec.generate_private_key(curve())
    return Signer(key, certificate(ec.generate_private_key(curve()) if other else key))


def certificate(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "builder")])
    start = datetime(2025, 1, 1, tzinfo=UTC)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, algorithm)
    )
    return made.public_bytes(serialization.Encoding.PEM)


def by_hand(*parts: bytes) -> str:
    """Return a register as the specification words it: one digest over all, extended into zeros."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(parts)).digest()).hexdigest()


def unpacked(data: bytes) -> list[tuple[int, bytes]]:
    """Return kind and contents of sections, read one behind the other without the table in the header."""
    place, found = HEADER, []
    while place < len(data):
        kind, flags, size = struct.unpack_from(">HHQ", data, place)
        assert flags == 0
        found.append((kind, data[place + 12 : place + 12 + size]))
        place += 12 + size
    return found


def sealed(data: bytes) -> bytes:
    """Return the file with the checksum that its bytes have."""
    return data[:CRC_AT] + struct.pack(">I", zlib.crc32(data[:CRC_AT] + data[HEADER:])) + data[HEADER:]


# --- what is inside


def test_sections_are_those_of_the_specification() -> None:
    kinds = [kind for kind, _ in unpacked(IMAGE)]
    assert kinds == [1, 2, 5, 3, 3, 3]
    contents = [data for _, data in unpacked(IMAGE)]
    assert contents[:2] + contents[3:] == [KERNEL, LINE.encode(), FIRST, SECOND, THIRD]
    assert eif.parse(IMAGE).sections == tuple(
        Section(SectionKind(kind), data) for kind, data in unpacked(IMAGE)
    )


def test_header_says_where_they_are() -> None:
    assert IMAGE[:28] == b".eif" + struct.pack(">HHQQHH", 4, 0, 1 << 30, 2, 0, 6)
    offsets, sizes = struct.unpack_from(">32Q", IMAGE, 28), struct.unpack_from(">32Q", IMAGE, 28 + 256)
    for number, (kind, data) in enumerate(unpacked(IMAGE)):
        assert IMAGE[offsets[number] :][:12] == struct.pack(">HHQ", kind, 0, len(data))
        assert sizes[number] == len(data)
    assert not any(offsets[6:] + sizes[6:])
    assert struct.unpack_from(">I", IMAGE, CRC_AT)[0] == zlib.crc32(IMAGE[:CRC_AT] + IMAGE[HEADER:])


def test_description_has_every_member_that_the_tools_of_aws_want() -> None:
    metadata = dict(unpacked(IMAGE))[5]
    assert json.loads(metadata) == {
        "ImageName": "hello",
        "ImageVersion": "1.0",
        "BuildMetadata": {
            "BuildTime": "2023-11-14T22:13:20+00:00",
            "BuildTool": "shim",
            "BuildToolVersion": "0.1.0",
            "OperatingSystem": "Linux",
            "KernelVersion": RELEASE,
        },
        "DockerInfo": {},
        "CustomMetadata": {},
    }


def test_registers_are_those_of_the_specification() -> None:
    registers = {number: value.hex() for number, value in eif.parse(IMAGE).registers.items()}
    assert registers == {
        0: by_hand(KERNEL, LINE.encode(), FIRST, SECOND, THIRD),
        1: by_hand(KERNEL, LINE.encode(), FIRST),
        2: by_hand(SECOND, THIRD),
    }


def test_of_one_ramdisk_the_second_register_is_the_one_that_many_published() -> None:
    registers = eif.parse(eif.image(Parts(KERNEL, LINE, (FIRST,)), ABOUT)).registers
    assert registers[2].hex() == NOTHING
    assert registers[0] == registers[1]


def test_description_is_not_measured_and_the_rest_is() -> None:
    def registers(parts: Parts, about: Description = ABOUT) -> tuple[bytes, ...]:
        return tuple(eif.parse(eif.image(parts, about)).registers.values())

    before = registers(PARTS)
    assert registers(PARTS, Description("other", "2", "x", "y", 0)) == before
    for parts, changed in (
        (Parts(kernel(text=b"other" * 300), LINE, PARTS.ramdisks), (0, 1)),
        (Parts(KERNEL, LINE + " quiet", PARTS.ramdisks), (0, 1)),
        (Parts(KERNEL, LINE, (b"070701 other", SECOND, THIRD)), (0, 1)),
        (Parts(KERNEL, LINE, (FIRST, SECOND, THIRD + b"x")), (0, 2)),
    ):
        after = registers(parts)
        assert tuple(number for number in range(3) if before[number] != after[number]) == changed


def test_order_of_sections_counts() -> None:
    """The specification lets a command line stand anywhere, and ramdisks behind the kernel."""
    sections = dict(zip("kcmabd", eif.parse(IMAGE).sections, strict=True))
    moved = eif_format.encoded([sections[letter] for letter in "kmabcd"])
    assert {number: value.hex() for number, value in eif.parse(moved).registers.items()} == {
        0: by_hand(KERNEL, FIRST, SECOND, LINE.encode(), THIRD),
        1: by_hand(KERNEL, FIRST, LINE.encode()),
        2: by_hand(SECOND, THIRD),
    }


def test_the_same_parts_give_the_same_bytes() -> None:
    assert eif.image(PARTS, ABOUT) == IMAGE


# --- parts of which no image is made


@pytest.mark.parametrize(
    ("parts", "about", "error", "where"),
    [
        (Parts(b"MZ", LINE, (FIRST,)), ABOUT, KernelError, "kernel.header"),
        (Parts(KERNEL, "x" * (LIMIT + 1), (FIRST,)), ABOUT, CommandLineError, "command line"),
        (Parts(KERNEL, "a\0b", (FIRST,)), ABOUT, CommandLineError, "command line"),
        (Parts(KERNEL, LINE, ()), ABOUT, EifError, "EIF.ramdisk"),
        (Parts(KERNEL, LINE, (FIRST, b"")), ABOUT, EifError, "EIF.ramdisk"),
        (Parts(KERNEL, LINE, (THIRD,) * 30), ABOUT, EifError, "EIF"),
        (Parts(KERNEL, LINE, (b"odd", FIRST)), ABOUT, EifError, "ramdisk 1"),
        (Parts(KERNEL, LINE, (FIRST, SECOND + b"\0", THIRD)), ABOUT, EifError, "ramdisk 2"),
        (Parts(KERNEL, LINE, (b"odd", b"odd", SECOND)), ABOUT, EifError, "ramdisk 2"),
        (Parts(KERNEL, LINE, (FIRST,)), Description("", "", "", "", 1 << 80), EifError, "EIF.BuildTime"),
        (
            Parts(KERNEL, LINE, (FIRST,)),
            Description("x" * (1 << 20), "", "", "", 0),
            EifError,
            "EIF.metadata",
        ),
    ],
)
def test_parts_that_no_image_can_be_made_of(
    parts: Parts, about: Description, error: type[Exception], where: str
) -> None:
    with pytest.raises(error) as caught:
        eif.image(parts, about)
    assert isinstance(caught.value, BootImageError)
    assert caught.value.where == where


@pytest.mark.parametrize("ramdisks", [(b"odd", THIRD), (b"odd", b"x", FIRST), (FIRST, b"odd", THIRD)])
def test_between_compressed_ramdisks_places_do_not_matter(ramdisks: tuple[bytes, ...]) -> None:
    assert eif.parse(eif.image(Parts(KERNEL, LINE, ramdisks), ABOUT)).registers


K, C, R, M = (Section(SectionKind(number), b"x") for number in (1, 2, 3, 5))
S = Section(SectionKind.SIGNATURE, b"x")


@pytest.mark.parametrize(
    ("sections", "where"),
    [
        ([], "kernel"),
        ([C, M, R], "kernel"),
        ([K, K, C, M, R], "kernel"),
        ([K, M, R], "command_line"),
        ([K, C, C, M, R], "command_line"),
        ([K, C, R], "metadata"),
        ([K, C, M, M, R], "metadata"),
        ([K, C, M], "ramdisk"),
        ([R, K, C, M], "ramdisk"),
        ([K, C, M, R, S, S], "signature"),
        ([K, C, M, Section(SectionKind.RAMDISK, b"")], "ramdisk"),
        ([K, C, Section(SectionKind.METADATA, b""), R], "metadata"),
        ([K, C, M, R, Section(SectionKind.SIGNATURE, bytes((1 << 15) + 1))], "signature"),
        ([K, Section(SectionKind.COMMAND_LINE, bytes((1 << 16) + 1)), M, R], "command_line"),
    ],
)
def test_sections_of_which_no_enclave_boots(sections: list[Section], where: str) -> None:
    with pytest.raises(EifError) as caught:
        eif_format.encoded(sections)
    assert caught.value.where == f"EIF.{where}"


def test_as_many_sections_as_there_may_be() -> None:
    most = [K, C, M, *[R] * (MAXIMUM_SECTIONS - 3)]
    assert eif_format.decoded(eif_format.encoded(most)) == tuple(most)
    with pytest.raises(EifError, match="33 sections"):
        eif_format.encoded([*most, R])


def test_what_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eif_format, "MAXIMUM_SIZE", len(IMAGE) - 1)
    for attempt in (lambda: eif.image(PARTS, ABOUT), lambda: eif.parse(IMAGE)):
        with pytest.raises(EifError, match="bytes, want"):
            attempt()


# --- damage


def patched(at: int, form: str, value: int) -> bytes:
    data = bytearray(IMAGE)
    struct.pack_into(form, data, at, value)
    return sealed(bytes(data))


SECOND_AT = HEADER + 12 + len(KERNEL)
DAMAGED: dict[str, tuple[bytes, str]] = {
    "another magic": (b".eiF" + IMAGE[4:], "EIF.magic"),
    "version 3": (patched(4, ">H", 3), "EIF.version"),
    "version 5": (patched(4, ">H", 5), "EIF.version"),
    "AArch64": (patched(6, ">H", 1), "EIF.flags"),
    "unknown flags": (patched(6, ">H", 2), "EIF.flags"),
    "reserved": (patched(24, ">H", 1), "EIF.header"),
    "no sections": (patched(26, ">H", 0), "EIF.num_sections"),
    "33 sections": (patched(26, ">H", 33), "EIF.num_sections"),
    "65535 sections": (patched(26, ">H", 65535), "EIF.num_sections"),
    "one section more than there is": (patched(26, ">H", 7), "EIF.section 6"),
    "one section less than there is": (patched(26, ">H", 5), "EIF.header"),
    "a first section elsewhere": (patched(28, ">Q", HEADER + 1), "EIF.section 0"),
    "a section on top of another": (patched(36, ">Q", HEADER), "EIF.section 1"),
    "a section far outside": (patched(36, ">Q", (1 << 64) - 1), "EIF.section 1"),
    "another size in the header": (patched(28 + 256, ">Q", len(KERNEL) - 1), "EIF.section 0"),
    "a huge size in the header": (patched(28 + 256, ">Q", (1 << 64) - 1), "EIF.section 0"),
    "another size in the section": (patched(HEADER + 4, ">Q", len(KERNEL) + 1), "EIF.section 0"),
    "a huge size in the section": (patched(HEADER + 4, ">Q", (1 << 64) - 1), "EIF.section 0"),
    "an offset that is not used": (patched(28 + 8 * 31, ">Q", 1), "EIF.header"),
    "a size that is not used": (patched(28 + 256 + 8 * 31, ">Q", 1), "EIF.header"),
    "an unused field": (patched(540, ">I", 1), "EIF.header"),
    "kind 0": (patched(SECOND_AT, ">H", 0), "EIF.section 1"),
    "kind 6": (patched(SECOND_AT, ">H", 6), "EIF.section 1"),
    "a second kernel": (patched(SECOND_AT, ">H", 1), "EIF.kernel"),
    "flags of a section": (patched(SECOND_AT + 2, ">H", 1), "EIF.section 1"),
    "another checksum": (IMAGE[:CRC_AT] + bytes(4) + IMAGE[HEADER:], "EIF.eif_crc32"),
    "one byte more": (sealed(IMAGE + b"\0"), "EIF"),
    "one byte less": (sealed(IMAGE[:-1]), "EIF.section 5"),
    "only a header": (sealed(IMAGE[:HEADER]), "EIF.section 0"),
    "nothing": (b"", "EIF"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_images_are_refused(name: str) -> None:
    data, where = DAMAGED[name]
    with pytest.raises(EifError) as caught:
        eif.parse(data)
    assert caught.value.where == where


SMALL = eif_format.encoded([K, C, M, R, R])


def test_no_flipped_bit_is_accepted() -> None:
    assert eif.parse(SMALL)
    for damaged in manipulate.one_bit_in_each_byte(SMALL, 0, len(SMALL)):
        with pytest.raises(EifError):
            eif.parse(damaged)


def test_no_prefix_is_accepted() -> None:
    for prefix in manipulate.every_proper_prefix(SMALL):
        with pytest.raises(EifError):
            eif.parse(prefix)


@given(st.binary(max_size=700), st.integers(0, len(SMALL)))
def test_only_our_error_escapes(data: bytes, place: int) -> None:
    for attempt in (
        data,
        sealed(SMALL[:place] + data + SMALL[place + len(data) :]),
        sealed(SMALL[:28] + data),
    ):
        try:
            found = eif.parse(attempt)
        except EifError as error:
            assert error.want
        else:
            assert set(found.registers) == {0, 1, 2}


# --- signatures


def signed(by: Signer) -> bytes:
    return eif.image(PARTS, ABOUT, by)


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_a_signed_image_says_who_signed(curve: type[ec.EllipticCurve]) -> None:
    by = signer(curve)
    found = eif.parse(signed(by))
    der = x509.load_pem_x509_certificate(by.certificate).public_bytes(serialization.Encoding.DER)
    assert found.registers[8].hex() == by_hand(der)
    assert {number: found.registers[number] for number in range(3)} == eif.parse(IMAGE).registers
    assert [section.kind for section in found.sections][-1] is SectionKind.SIGNATURE


def test_a_signature_is_that_of_the_specification() -> None:
    """Taken apart and checked once more, without anything of ours."""
    by = signer()
    (entry,) = cbor2.loads(unpacked(signed(by))[-1][1])
    assert list(entry) == ["signing_certificate", "signature"]
    assert bytes(entry["signing_certificate"]) == by.certificate
    protected, unprotected, payload, signature = cbor2.loads(bytes(entry["signature"]))
    assert (cbor2.loads(protected), unprotected) == ({1: -35}, {})
    assert cbor2.loads(payload) == {
        "register_index": 0,
        "register_value": list(eif.parse(IMAGE).registers[0]),
    }
    halves = (int.from_bytes(part, "big") for part in (signature[:48], signature[48:]))
    covered = cbor2.dumps(["Signature1", protected, b"", payload])
    by.key.public_key().verify(encode_dss_signature(*halves), covered, ec.ECDSA(hashes.SHA384()))


def with_signature(section: bytes) -> bytes:
    return eif_format.encoded([*eif.parse(IMAGE).sections, Section(SectionKind.SIGNATURE, section)])


def entry_of(change: Callable[[dict[str, object]], object]) -> bytes:
    (entry,) = cbor2.loads(unpacked(signed(signer()))[-1][1])
    return cbor2.dumps([change(entry)])


REGISTER = eif.parse(IMAGE).registers[0]


def payload_signed(payload: object) -> bytes:
    return payload_signed_bytes(cbor2.dumps(payload))


def payload_signed_bytes(payload: bytes) -> bytes:
    message = cose.sign(payload, {}, signer().key)[1:]
    return cbor2.dumps([{"signing_certificate": list(signer().certificate), "signature": list(message)}])


WRONG_SIGNATURES: dict[str, Callable[[], bytes]] = {
    "of another image": lambda: eif_signature.sign(bytes(48), signer()),
    "by another key": lambda: entry_of(
        lambda entry: {
            **entry,
            "signing_certificate": list(certificate(ec.generate_private_key(ec.SECP384R1()))),
        }
    ),
    "by a key on another curve": lambda: entry_of(
        lambda entry: {**entry, "signing_certificate": list(signer(ec.SECP256R1).certificate)}
    ),
    "by a key of another kind": lambda: entry_of(
        lambda entry: {
            **entry,
            "signing_certificate": list(certificate(ed25519.Ed25519PrivateKey.generate())),
        }
    ),
    "no certificate": lambda: entry_of(lambda entry: {**entry, "signing_certificate": [1, 2]}),
    "a certificate in bytes": lambda: entry_of(
        lambda entry: {**entry, "signing_certificate": signer().certificate}
    ),
    "numbers that are no bytes": lambda: entry_of(lambda entry: {**entry, "signature": [256]}),
    "truth that is no byte": lambda: entry_of(lambda entry: {**entry, "signature": [True]}),
    "a member too few": lambda: entry_of(lambda entry: {"signature": entry["signature"]}),
    "a member too many": lambda: entry_of(lambda entry: {**entry, "comment": "x"}),
    "no map": lambda: cbor2.dumps([1]),
    "no array": lambda: cbor2.dumps({}),
    "none": lambda: cbor2.dumps([]),
    "two": lambda: cbor2.dumps(cbor2.loads(entry_of(dict)) * 2),
    "no CBOR": lambda: b"\xff",
    "no message": lambda: entry_of(lambda entry: {**entry, "signature": list(cbor2.dumps(1))}),
    "of register 1": lambda: payload_signed({"register_index": 1, "register_value": list(REGISTER)}),
    "of register 0.0": lambda: payload_signed({"register_index": 0.0, "register_value": list(REGISTER)}),
    "of register false": lambda: payload_signed({"register_index": False, "register_value": list(REGISTER)}),
    "of a value in bytes": lambda: payload_signed({"register_index": 0, "register_value": REGISTER}),
    "of a register named twice": lambda: payload_signed_bytes(
        b"\xa3"
        + b"".join(
            map(cbor2.dumps, ("register_index", 1, "register_index", 0, "register_value", list(REGISTER)))
        )
    ),
    "of something else": lambda: payload_signed([0, list(REGISTER)]),
    "of more": lambda: payload_signed({"register_index": 0, "register_value": list(REGISTER), "x": 1}),
}


@pytest.mark.parametrize("name", WRONG_SIGNATURES)
def test_signatures_that_are_refused(name: str) -> None:
    with pytest.raises(EifError) as caught:
        eif.parse(with_signature(WRONG_SIGNATURES[name]()))
    assert caught.value.where.startswith(("EIF.signature", "certificate"))


def test_a_good_signature_is_no_mistake_of_the_test() -> None:
    good = payload_signed({"register_index": 0, "register_value": list(REGISTER)})
    assert 8 in eif.parse(with_signature(good)).registers


def test_a_changed_image_does_not_keep_its_signature() -> None:
    sections = list(eif.parse(signed(signer())).sections)
    sections[4] = Section(SectionKind.RAMDISK, SECOND + b"\0")
    with pytest.raises(EifError, match="PCR0"):
        eif.parse(eif_format.encoded(sections))


@given(st.binary(max_size=300))
def test_only_our_error_escapes_from_a_signature(data: bytes) -> None:
    for attempt in (data, payload_signed(0)[:40] + data):
        with pytest.raises(EifError):
            eif_signature.check(attempt, REGISTER)


def test_a_certificate_of_another_key_is_refused_before_signing() -> None:
    with pytest.raises(EifError, match="one for another key"):
        signer(other=True)
    pem, other = signer().certificate, certificate(ed25519.Ed25519PrivateKey.generate())
    lines = pem.splitlines()
    off_the_curve = base64.b64decode(b"".join(lines[1:-1])).replace(b"\x00\x04", b"\x00\x05", 1)
    damaged = (lines[0], *base64.encodebytes(off_the_curve).splitlines(), lines[-1])
    for bad in (b"", b"no PEM", other, pem * 2, pem[:-30], b"\n".join(damaged)):
        with pytest.raises(EifError) as caught:
            Signer(signer().key, bad)
        assert caught.value.where == "certificate"
