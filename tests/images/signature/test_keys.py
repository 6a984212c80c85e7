"""Keys in files: which are taken, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, strategies as st

from images.signature.errors import SigningKeyError
from images.signature.keys import read_private, read_public, signers
from tests.fakes.layouts import new_key, private_pem, public_pem
from tests.fakes.tools import told

KINDS = ("p256", "ed25519")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [None, b"secret", b"\x00 \xff"])
def test_keys_sign_and_verify(kind: str, passphrase: bytes | None) -> None:
    key = read_private(private_pem(kind, passphrase), "key", passphrase)
    public = read_public(public_pem(key), "pub")
    signature = key.sign(b"data")
    assert public.made(signature, b"data")
    assert public.identifier == key.public.identifier
    assert not public.made(signature, b"date")
    assert not public.made(signature[:-1], b"data")
    assert not public.made(b"", b"data")
    assert not new_key(kind=kind).public.made(signature, b"data")
    assert signers(signature, b"data", (new_key().public, public, public)) == (public, public)


@pytest.mark.parametrize("algorithm", [("ED25519",), ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")])
def test_keys_of_openssl(algorithm: tuple[str, ...], tmp_path: Path) -> None:
    private, public, data = (tmp_path / name for name in ("key", "pub", "data"))
    run("genpkey", "-algorithm", *algorithm, "-aes256", "-pass", "pass:word", "-out", str(private))
    run("pkey", "-in", str(private), "-passin", "pass:word", "-pubout", "-out", str(public))
    key = read_private(private.read_bytes(), "key", b"word")
    assert read_public(public.read_bytes(), "pub").identifier == key.public.identifier
    data.write_bytes(b"what is signed")
    (tmp_path / "sig").write_bytes(key.sign(b"what is signed"))
    raw = () if algorithm[0] != "EC" else ("-digest", "sha256")
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", *raw, "-in", str(data))
    assert b"Verified" in run(*verify, "-sigfile", str(tmp_path / "sig"))


def run(*arguments: str) -> bytes:
    return told("openssl", *arguments)


def pem(key: object, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())  # type: ignore[attr-defined,no-any-return]


P256 = ec.generate_private_key(ec.SECP256R1())


PRIVATE = [
    (b"", None, "found no PEM, want PKCS #8"),
    (b"\x00\xff" * 10, None, "found no PEM"),
    (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "found a damaged key"),
    (pem(P256, PrivateFormat.TraditionalOpenSSL), None, "found EC PRIVATE KEY in PEM, want PKCS #8"),
    (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", None, "found ENCRYPTED SIGSTORE PRIVATE KEY in PEM"),
    (pem(rsa.generate_private_key(65537, 2048)), None, "found a key for something else"),
    (pem(ed448.Ed448PrivateKey.generate()), None, "found a key for something else"),
    (pem(ec.generate_private_key(ec.SECP384R1())), None, "found a key on secp384r1"),
    (pem(ec.generate_private_key(ec.SECP256K1())), None, "found a key on secp256k1"),
    (pem(P256), b"word", "a key that is not encrypted, want no passphrase"),
    (private_pem("p256", b"word"), None, "an encrypted key, want --passphrase-fd"),
    (private_pem("p256", b"word"), b"other", "another passphrase, or a damaged key"),
    (public_pem(new_key()), None, "found PUBLIC KEY in PEM"),
    (b"-" * ((1 << 16) + 1), None, "want at most 65536 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "passphrase", "message"), PRIVATE, ids=[row[2] for row in PRIVATE])
def test_private_keys_that_are_none(data: bytes, passphrase: bytes | None, message: str) -> None:
    with pytest.raises(SigningKeyError, match=message) as caught:
        read_private(data, "the key", passphrase)
    assert str(caught.value).startswith("the key: ")


PUBLIC = [
    (b"", "found no PEM"),
    (pem(P256), "found PRIVATE KEY in PEM, want a public key"),
    (rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "a key for something else"),
    (ec.generate_private_key(ec.SECP521R1()).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "a key on secp521r1"),
    (b"-" * ((1 << 16) + 1), "want at most 65536 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), PUBLIC, ids=[row[1] for row in PUBLIC])
def test_public_keys_that_are_none(data: bytes, message: str) -> None:
    with pytest.raises(SigningKeyError, match=message):
        read_public(data, "the key")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_key_or_an_error(tail: bytes, labelled: bool) -> None:  # noqa: FBT001  # drawn
    data = b"-----BEGIN PRIVATE KEY-----\n" + tail if labelled else tail
    for read in (read_private, read_public):
        with pytest.raises(SigningKeyError):
            read(data, "the key")
