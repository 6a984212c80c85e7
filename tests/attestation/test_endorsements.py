from __future__ import annotations

import base64
import contextlib
import uuid
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from hypothesis import given, strategies as st

from attestation import endorsements
from attestation.certificate import read_certificate, read_revocation_list
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError
from attestation.snp import certificate_table, evidence
from tests.fakes import aws
from tests.fakes.amd import Amd, Chip
from tests.fakes.aws import MADE

AMD, CHIP = Amd(), Chip()
LEAF, ASK, ARK = AMD.chain(CHIP)
CRL = AMD.crl([5])
REPORT = CHIP.report()
GUIDS = {kind: guid for guid, kind in certificate_table.KINDS.items()}
PLATFORM_INFO = uuid.UUID("ecae0c0f-9502-43b1-afa2-0ae2e0d565b6").bytes_le


def pem(der: bytes, label: str = "CERTIFICATE", line_end: str = "\n") -> bytes:
    lines = base64.encodebytes(der).decode().split()
    return line_end.join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def table(*entries: tuple[bytes, bytes]) -> bytes:
    offset = 24 * (len(entries) + 1)
    headers, contents = b"", b""
    for guid, data in entries:
        headers += guid + (offset + len(contents)).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        contents += data
    return headers + bytes(24) + contents


FULL_TABLE = table((GUIDS["VCEK"], LEAF), (GUIDS["ASK"], ASK), (GUIDS["ARK"], ARK), (GUIDS["CRL"], CRL))


@pytest.mark.parametrize(
    ("data", "certificates", "lists"),
    [
        (LEAF, (LEAF,), ()),
        (LEAF.hex("\n", 30).encode() + b"\n", (LEAF,), ()),
        (CRL, (), (CRL,)),
        (LEAF + ASK + ARK, (LEAF, ASK, ARK), ()),
        (LEAF + CRL + ARK + b"\n", (LEAF, ARK), (CRL,)),
        (pem(LEAF), (LEAF,), ()),
        (pem(ASK) + pem(ARK), (ASK, ARK), ()),
        (b"subject=/CN=x\r\n" + pem(ASK, line_end="\r\n") + b"\r\n" + pem(ARK) + b"\0", (ASK, ARK), ()),
        (pem(CRL, "X509 CRL"), (), (CRL,)),
        (pem(LEAF) + pem(CRL, "X509 CRL"), (LEAF,), (CRL,)),
        (FULL_TABLE, (LEAF, ASK, ARK), (CRL,)),
        (FULL_TABLE + bytes(4096), (LEAF, ASK, ARK), (CRL,)),
        (table((GUIDS["VCEK"], pem(LEAF)), (GUIDS["ASK"], pem(ASK) + pem(ARK))), (LEAF, ASK, ARK), ()),
        (table((GUIDS["VCEK"], LEAF), (PLATFORM_INFO, b"\x01\x02")), (LEAF,), ()),
        (
            table((PLATFORM_INFO, b"\x01\x02"), (GUIDS["ARK"], pem(ARK)), (GUIDS["VCEK"], LEAF)),
            (ARK, LEAF),
            (),
        ),
        (
            table(
                (GUIDS["VCEK"], LEAF + bytes(100)),
            ),
            (LEAF,),
            (),
        ),
        (
            table(
                (GUIDS["VCEK"], b""),
            ),
            (),
            (),
        ),
        (bytes(24), (), ()),
        (bytes(4096), (), ()),
    ],
)
def test_every_form_is_recognised(
    data: bytes, certificates: tuple[bytes, ...], lists: tuple[bytes, ...]
) -> None:
    assert endorsements.parse(data) == Endorsements(certificates, lists)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        bytes(23),
        LEAF[:-1],
        LEAF + b"x",
        LEAF + LEAF[:100],
        b"\x30",
        b"\x30\x80\x00\x00",  # indefinite length
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x82\x10",
        pem(LEAF)[:-20],
        pem(LEAF) + b"-----BEGIN CERTIFICATE-----\n",
        pem(LEAF, "PRIVATE KEY"),
        pem(LEAF, "TRUSTED CERTIFICATE"),
        pem(LEAF).replace(b"M", b"!", 1),
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n-----END X509 CRL-----\n",
        FULL_TABLE[:24],
        FULL_TABLE[:-1],
        FULL_TABLE.replace(bytes(24), b"\x01" + bytes(23), 1),
        table((GUIDS["VCEK"], b"hello")),
        (GUIDS["VCEK"] + bytes(4) + b"\x05\0\0\0") + bytes(24),  # contents inside the headers
        (GUIDS["VCEK"] + b"\xff" * 8) + bytes(24),
        GUIDS["VCEK"] * 3 * 100,
    ],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        endorsements.parse(data, "file.pem")
    assert caught.value.exit_code == 10


def test_too_many_entries_are_refused() -> None:
    entry = (PLATFORM_INFO, b"")
    limit = certificate_table.MAXIMUM_ENTRIES
    assert certificate_table.parse(table(*[entry] * (limit - 1)))
    with pytest.raises(EvidenceFormatError, match="more than 64 entries"):
        certificate_table.parse(table(*[entry] * limit))


@pytest.mark.parametrize(("offset", "is_inside"), [(47, False), (48, True), (52, True), (53, False)])
def test_contents_lie_between_headers_and_end(offset: int, is_inside: bool) -> None:  # noqa: FBT001
    data = GUIDS["VCEK"] + offset.to_bytes(4, "little") + b"\4\0\0\0" + bytes(24) + b"contents"
    if is_inside:
        assert certificate_table.parse(data)[0].data == b"contents"[offset - 48 :][:4]
    else:
        with pytest.raises(EvidenceFormatError, match="entry VCEK"):
            certificate_table.parse(data)


def test_union_keeps_each_once() -> None:
    both = Endorsements((LEAF, ASK)) | Endorsements((ASK, ARK), (CRL,))
    assert both == Endorsements((LEAF, ASK, ARK), (CRL,))


# The transports of a report


def message(report: bytes = REPORT, status: int = 0, size: int = 0x4A0, padding: bytes = b"") -> bytes:
    return status.to_bytes(4, "little") + size.to_bytes(4, "little") + bytes(24) + report + padding


@pytest.mark.parametrize("data", [REPORT, message(), message(padding=bytes(4000 - 1216))])
def test_bare_report_and_message_are_the_same_report(data: bytes) -> None:
    read = evidence.parse(data)
    assert read.report.raw == REPORT
    assert read.endorsements == Endorsements()


@pytest.mark.parametrize("certificates", [FULL_TABLE, FULL_TABLE + bytes(1000)])
def test_extended_report_brings_its_certificates(certificates: bytes) -> None:
    read = evidence.parse(REPORT + certificates)
    assert read.report.raw == REPORT
    assert read.endorsements == Endorsements((LEAF, ASK, ARK), (CRL,))


@pytest.mark.parametrize(
    "data",
    [
        REPORT + b"\0",
        REPORT + bytes(23),
        REPORT + b"x" * 24,
        REPORT + FULL_TABLE[:-1],
        message(status=0x16),
        message(size=0x4A1),
        message()[:-1],
        message(padding=b"\0\1"),
        message()[:8] + b"\1" + message()[9:],
        bytes(32),
        bytes(1216),
        b"HCLA" + bytes(2596),
        b"x" * (evidence.MAXIMUM_SIZE + 1),
    ],
)
def test_any_other_transport_is_malformed(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(data)


@given(st.binary(max_size=200))
def test_only_our_error_escapes_from_anything(data: bytes) -> None:
    for parse in (endorsements.parse, evidence.parse, endorsements.from_certificate_table):
        with contextlib.suppress(EvidenceFormatError):
            parse(data)


@given(st.data())
def test_only_our_error_escapes_from_damage(data: st.DataObject) -> None:
    good, read = data.draw(
        st.sampled_from([(LEAF, read_certificate), (ASK, read_certificate), (CRL, read_revocation_list)])
    )
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EvidenceFormatError):
        read(bytes(damaged))


@given(st.lists(st.tuples(st.sampled_from([*GUIDS.values(), PLATFORM_INFO]), st.just(LEAF)), max_size=8))
def test_table_gives_back_what_was_put_in(entries: list[tuple[bytes, bytes]]) -> None:
    read = certificate_table.parse(table(*entries))
    assert [(entry.guid.bytes_le, entry.data) for entry in read] == entries


def test_what_the_library_warns_of_is_no_business_of_users() -> None:
    """A country has two letters; warnings are errors here."""
    with pytest.warns(UserWarning, match="length"):
        name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "USA", _validate=False)])
    key = aws.key("root")
    made = x509.CertificateBuilder(name, name, key.public_key(), 5, MADE, MADE + timedelta(days=1))
    taken_back = x509.CertificateRevocationListBuilder(name, MADE, MADE + timedelta(days=1))
    encoded = [
        one.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.DER) for one in (made, taken_back)
    ]
    assert read_certificate(encoded[0]).subject == read_revocation_list(encoded[1]).issuer
