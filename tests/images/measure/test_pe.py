from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images.measure import pe
from images.measure.errors import PeError
from tests.broken import manipulate
from tests.fakes import pe as fakes

SECTIONS = [(".text", b"text" * 200), (".data", b"data" * 10), (".bss", b"")]
IMAGE = fakes.image(SECTIONS)


def by_hand(data: bytes, checksum: int, entry: int, headers: int, signature: int = 0) -> str:
    """Return the digest of an image whose sections lie behind each other."""
    rest = data[headers : len(data) - signature]
    return hashlib.sha256(
        data[:checksum] + data[checksum + 4 : entry] + data[entry + 8 : headers] + rest
    ).hexdigest()


def test_digest_leaves_out_checksum_and_signatures() -> None:
    image = pe.parse(IMAGE)
    expected = by_hand(IMAGE, 64 + 24 + 64, 64 + 24 + 112 + 32, image.headers)
    assert pe.authenticode(image, "sha256").hex() == expected
    changed = bytearray(IMAGE)
    changed[image.checksum : image.checksum + 4] = b"\1\2\3\4"
    assert pe.authenticode(pe.parse(bytes(changed)), "sha256").hex() == expected
    signed = IMAGE + b"signature" * 8
    changed = bytearray(signed)
    assert image.certificate_entry is not None
    struct.pack_into("<II", changed, image.certificate_entry, len(IMAGE), 72)
    assert pe.authenticode(pe.parse(bytes(changed)), "sha256").hex() == expected
    assert pe.authenticode(pe.parse(signed), "sha256").hex() != expected


def test_what_is_behind_the_sections_counts() -> None:
    data = fakes.image(SECTIONS, behind=b"symbols" * 9)
    image = pe.parse(data)
    expected = by_hand(data, 64 + 24 + 64, 64 + 24 + 112 + 32, image.headers)
    assert pe.authenticode(image, "sha256").hex() == expected


@pytest.mark.parametrize(("magic", "directories"), [(0x10B, 16), (0x20B, 4), (0x20B, 0)])
def test_images_of_other_shapes_are_read(magic: int, directories: int) -> None:
    image = pe.parse(fakes.image(SECTIONS, magic=magic, directories=directories))
    assert (image.certificate_entry is None) == (directories < 5)
    assert [section.name for section in image.sections] == [".text", ".data", ".bss"]
    assert image.contents(image.sections[0]) == SECTIONS[0][1]


def test_every_byte_but_those_left_out_counts() -> None:
    image = pe.parse(IMAGE)
    assert image.certificate_entry is not None
    uncounted = {
        *range(image.checksum, image.checksum + 4),
        *range(image.certificate_entry, image.certificate_entry + 8),
    }
    before = pe.authenticode(image, "sha256")
    for position, damaged in enumerate(manipulate.one_bit_in_each_byte(IMAGE, 0, len(IMAGE))):
        try:
            same = pe.authenticode(pe.parse(damaged), "sha256") == before
        except PeError:
            continue
        assert same == (position in uncounted), position


def test_digest_is_the_one_that_debian_signed() -> None:
    kernels = sorted(Path("/boot").glob("vmlinuz-*"))
    if shutil.which("osslsigncode") is None or not kernels:
        pytest.skip(
            "no osslsigncode, or no kernel in /boot (apt install osslsigncode linux-image-cloud-amd64)"
        )
    shown = subprocess.run(
        ["osslsigncode", "verify", "-in", str(kernels[-1])], capture_output=True, text=True, check=False
    )
    match = re.search(r"Current message digest\s*: ([0-9A-F]{64})", shown.stdout)
    assert match is not None, shown.stdout
    assert pe.authenticode(pe.parse(kernels[-1].read_bytes()), "sha256").hex().upper() == match[1]


def test_digest_stays_when_osslsigncode_signs(tmp_path: Path) -> None:
    tools = [tool for tool in ("osslsigncode", "openssl") if shutil.which(tool) is None]
    if tools:
        pytest.skip(f"no {', '.join(tools)} (apt install osslsigncode openssl)")
    key, certificate, plain, signed = (tmp_path / name for name in ("key", "certificate", "plain", "signed"))
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    plain.write_bytes(fakes.uki())
    sign = [
        "osslsigncode",
        "sign",
        "-h",
        "sha256",
        "-certs",
        certificate,
        "-key",
        key,
        "-in",
        plain,
        "-out",
        signed,
    ]
    subprocess.run(sign, capture_output=True, check=True)
    assert signed.read_bytes() != plain.read_bytes()
    digests = {pe.authenticode(pe.parse(path.read_bytes()), "sha256") for path in (plain, signed)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no MZ"),
        (b"MZ", "no MZ"),
        (b"\x7fELF".ljust(100, b"\0"), "no MZ"),
        (b"MZ".ljust(100, b"\0"), "want PE"),
        (b"MZ".ljust(60, b"\0") + b"\xff\xff\xff\xff", "found nothing, want PE"),
        (IMAGE[:70], "COFF header"),
        (IMAGE[:200], "section table"),
        (fakes.image([]), "found 0, want 1 to 96"),
        (fakes.image(SECTIONS, fields={"count": 97}), "section table|found 97"),
        (fakes.image(SECTIONS, fields={"headers": 100}), "SizeOfHeaders"),
        (fakes.image(SECTIONS, fields={"headers": 1 << 30}), "SizeOfHeaders"),
        (fakes.image(SECTIONS, fields={"headers": 1024}), r"section \.text"),
        (fakes.image(SECTIONS, fields={"directories": 17}), "directories"),
        (fakes.image(SECTIONS, fields={"directories": 0xFFFFFFFF}), "directories"),
        (fakes.image(SECTIONS, magic=0x107), "optional header"),
    ],
)
def test_bytes_that_are_no_image_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(PeError, match=match):
        pe.parse(data)


def with_section(number: int, offset: int, size: int) -> bytes:
    changed = bytearray(IMAGE)
    struct.pack_into("<II", changed, 64 + 24 + 240 + 40 * number + 16, size, offset)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 512), (512, 1024), (512, 1 << 31), (0xFFFFFFFF, 512), (len(IMAGE) - 511, 512)]
)
def test_section_on_top_of_others_or_outside_is_refused(offset: int, size: int) -> None:
    with pytest.raises(PeError, match="a place between"):
        pe.parse(with_section(1, offset, size))


@pytest.mark.parametrize(("offset", "size"), [(0, 8), (len(IMAGE) - 16, 8), (len(IMAGE), 8), (8, 0xFFFFFFFF)])
def test_signatures_that_are_not_at_the_end_are_refused(offset: int, size: int) -> None:
    changed = bytearray(IMAGE)
    struct.pack_into("<II", changed, 64 + 24 + 112 + 32, offset, size)
    with pytest.raises(PeError, match="signatures"):
        pe.parse(bytes(changed))


def test_signatures_on_top_of_a_section_are_refused() -> None:
    changed = bytearray(IMAGE)
    struct.pack_into("<II", changed, 64 + 24 + 112 + 32, len(IMAGE) - 8, 8)
    with pytest.raises(PeError, match=r"section \.data"):
        pe.parse(bytes(changed))


def test_every_proper_prefix_is_refused() -> None:
    for prefix in manipulate.every_proper_prefix(IMAGE):
        with pytest.raises(PeError):
            pe.parse(prefix)


@given(st.binary(max_size=700), st.integers(0, 600))
def test_only_our_error_escapes(data: bytes, place: int) -> None:
    for attempt in (data, IMAGE[:place] + data + IMAGE[place + len(data) :]):
        try:
            pe.authenticode(pe.parse(attempt), "sha1")
        except PeError as error:
            assert error.want
