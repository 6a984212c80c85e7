from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, strategies as st

from images.measure import id_block
from images.measure.errors import KeyUnfitError, LaunchParameterError
from images.measure.id_block import IdBlock, SignedIdBlock, public_key, read_key, sign

ID_KEY, AUTHOR_KEY = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
DIGEST = bytes(range(48))
BLOCK = IdBlock(DIGEST, b"F" * 16, b"I" * 16, 7, 0x30000)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def verify(key: bytes, signature: bytes, data: bytes) -> None:
    """Check a signature with a key, both as the secure processor takes them."""
    assert (key[:4], key[148:], signature[144:]) == (b"\2\0\0\0", bytes(880), bytes(368))
    x, y = (int.from_bytes(key[at : at + 72], "little") for at in (4, 76))
    r, s = (int.from_bytes(signature[at : at + 72], "little") for at in (0, 72))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP384R1()).public_key()
    public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA384()))


def parts(signed: SignedIdBlock) -> tuple[bytes, bytes, bytes, bytes]:
    """Return signature of the block, ID key, its signature and author key, by their offsets in AMD 56860."""
    raw = signed.authentication
    assert len(raw) == 4096
    for start, end in ((0x8, 0x40), (0x644, 0x680), (0xC84, 0x1000)):
        assert raw[start:end] == bytes(end - start)
    return raw[0x40:0x240], raw[0x240:0x644], raw[0x680:0x880], raw[0x880:0xC84]


def test_block_stands_as_the_specification_has_it() -> None:
    raw = BLOCK.encoded()
    assert raw == DIGEST + b"F" * 16 + b"I" * 16 + b"\1\0\0\0" + b"\7\0\0\0" + b"\0\0\3\0\0\0\0\0"
    assert len(raw) == 96


def test_both_signatures_hold() -> None:
    signed = sign(BLOCK, ID_KEY, AUTHOR_KEY)
    block_signature, key, key_signature, author = parts(signed)
    assert signed.authentication[:8] == b"\1\0\0\0\1\0\0\0"
    verify(key, block_signature, signed.block)
    verify(author, key_signature, key)
    assert (signed.id_key_digest, signed.author_key_digest) == tuple(
        hashlib.sha384(part).digest() for part in (key, author)
    )
    with pytest.raises(InvalidSignature):
        verify(key, block_signature, signed.block[:-1] + b"\1")


def test_without_an_author_there_is_nothing_of_it() -> None:
    signed = sign(BLOCK, ID_KEY)
    block_signature, key, key_signature, author = parts(signed)
    assert signed.authentication[4:8] == bytes(4)
    assert (key_signature, author) == (bytes(512), bytes(1028))
    assert signed.author_key_digest == bytes(48)
    verify(key, block_signature, signed.block)


def test_block_and_digests_are_those_of_sev_snp_measure(tmp_path: Path) -> None:
    peer = pytest.importorskip(
        "sevsnpmeasure.id_block", reason="no sev-snp-measure (pip install 'tee-shim[bench]')"
    )
    for name, key in (("id", ID_KEY), ("author", AUTHOR_KEY)):
        (tmp_path / name).write_bytes(pem(key))
    theirs = peer.snp_calc_id_block(DIGEST, str(tmp_path / "id"), str(tmp_path / "author"))
    signed = sign(IdBlock(DIGEST), ID_KEY, AUTHOR_KEY)
    for data in (signed.block, signed.id_key_digest, signed.author_key_digest):
        assert base64.b64encode(data).decode() in theirs
    raw = base64.b64decode(theirs.split("id-auth=")[1].split("\n")[0])
    assert raw[0x240:0x644] == public_key(ID_KEY)
    assert raw[0x880:0xC84] == public_key(AUTHOR_KEY)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP521R1())]
)
def test_key_on_another_curve_is_refused(key: ec.EllipticCurvePrivateKey) -> None:
    for keys in ((key,), (ID_KEY, key)):
        with pytest.raises(KeyUnfitError, match="want one on secp384r1"):
            sign(BLOCK, *keys)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (pem(ID_KEY, b"password"), "no private key"),
        (pem(rsa.generate_private_key(65537, 2048)), "a key for something else"),
    ],
)
def test_file_that_is_no_such_key_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(KeyUnfitError, match=f"id.pem: found {match}"):
        read_key(data, "id.pem")


def test_key_is_read_from_its_file() -> None:
    assert public_key(read_key(pem(ID_KEY), "id.pem")) == public_key(ID_KEY)


@pytest.mark.parametrize(
    "fields",
    [
        {"launch_digest": bytes(47)},
        {"launch_digest": bytes(49)},
        {"family_id": bytes(15)},
        {"image_id": bytes(17)},
        {"guest_svn": -1},
        {"guest_svn": 1 << 32},
        {"policy": 0},
        {"policy": 0x10000},
        {"policy": 1 << 64 | 0x20000},
        {"policy": -1},
    ],
)
def test_block_that_no_host_accepts_is_refused(fields: dict[str, bytes]) -> None:
    given_fields: dict[str, bytes] = {"launch_digest": DIGEST, **fields}
    with pytest.raises(LaunchParameterError, match="ID block"):
        IdBlock(**given_fields)


@given(st.binary(max_size=300))
def test_only_our_error_escapes(data: bytes) -> None:
    with pytest.raises(KeyUnfitError):
        id_block.read_key(data, "key")
