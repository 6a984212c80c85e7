"""The parts of a guest, called one by one: HPKE against its RFC and against Python, headers against Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings, strategies as st

from attestation import binding
from attestation.channel import frames, hpke, release
from attestation.channel.errors import FrameError
from tests import rfc9180

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


class Sealing(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_ubyte * 32),
        ("base_nonce", ctypes.c_ubyte * 12),
        ("sequence", ctypes.c_uint64),
    )


class Hpke(ctypes.Structure):
    _fields_ = (("sealing", Sealing), ("exporter_secret", ctypes.c_ubyte * 32))


class Fault(ctypes.Structure):
    _fields_ = (("where", ctypes.c_char_p), ("want", ctypes.c_char_p), ("found", ctypes.c_char * 64))

    def __str__(self) -> str:
        return f"{self.where.decode()}: found {self.found.decode()}, want {self.want.decode()}"


class Frame(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint8), ("size", ctypes.c_uint32))


class Terms(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_ubyte * 32)
        for name in ("relying_party", "nonce", "evidence", "private_key", "public_key")
    )


@pytest.fixture(scope="module")
def lib(guest_build: Callable[[str], Path]) -> ctypes.CDLL:
    return ctypes.CDLL(str(guest_build("guest-library") / "libguest.so"))


def received(lib: ctypes.CDLL, info: bytes = rfc9180.INFO, enc: bytes = rfc9180.ENC) -> Hpke | None:
    context = Hpke()
    done = lib.hpke_receive(
        ctypes.byref(context),
        rfc9180.PRIVATE_KEY,
        rfc9180.PUBLIC_KEY,
        enc,
        info,
        ctypes.c_size_t(len(info)),
    )
    return context if done == 0 else None


def change(lib: ctypes.CDLL, name: str, sealing: Sealing, aad: bytes, data: bytes) -> bytes | None:
    size = len(data) + (16 if name == "sealing_seal" else -16)
    out = ctypes.create_string_buffer(max(size, 0) + 1)
    done = lib[name](
        ctypes.byref(sealing),
        aad,
        ctypes.c_size_t(len(aad)),
        data,
        ctypes.c_size_t(len(data)),
        out,
    )
    return out.raw[:size] if done == 0 else None


def test_the_key_schedule_is_that_of_the_rfc(lib: ctypes.CDLL) -> None:
    context = received(lib)
    assert context is not None
    assert bytes(context.sealing.key) == rfc9180.KEY
    assert bytes(context.sealing.base_nonce) == rfc9180.BASE_NONCE
    assert bytes(context.exporter_secret) == rfc9180.EXPORTER_SECRET


@pytest.mark.parametrize("sequence", rfc9180.CIPHERTEXTS)
def test_messages_are_those_of_the_rfc(lib: ctypes.CDLL, sequence: int) -> None:
    context = received(lib)
    assert context is not None
    sealed, aad = bytes.fromhex(rfc9180.CIPHERTEXTS[sequence]), b"Count-%d" % sequence
    context.sealing.sequence = sequence
    assert change(lib, "sealing_open", context.sealing, aad, sealed) == rfc9180.TEXT
    assert context.sealing.sequence == sequence + 1
    assert change(lib, "sealing_open", context.sealing, aad, sealed) is None
    context.sealing.sequence = sequence
    assert change(lib, "sealing_seal", context.sealing, aad, rfc9180.TEXT) == sealed


@pytest.mark.parametrize("context", rfc9180.EXPORTS)
def test_exports_are_those_of_the_rfc(lib: ctypes.CDLL, context: bytes) -> None:
    out = ctypes.create_string_buffer(32)
    size = ctypes.c_size_t(len(context))
    assert lib.hpke_export(ctypes.byref(received(lib)), context, size, out, ctypes.c_size_t(32)) == 0
    assert out.raw.hex() == rfc9180.EXPORTS[context]


def test_an_export_that_is_too_long_is_refused(lib: ctypes.CDLL) -> None:
    out = ctypes.create_string_buffer(129)
    assert lib.hpke_export(ctypes.byref(received(lib)), b"", 0, out, ctypes.c_size_t(129)) == -1


@given(st.binary(max_size=120), st.binary(max_size=300), st.binary(max_size=20), st.integers(1, 128))
@settings(max_examples=60, deadline=None)
def test_both_sides_agree(lib: ctypes.CDLL, info: bytes, text: bytes, aad: bytes, size: int) -> None:
    enc, sender = hpke.send(rfc9180.PUBLIC_KEY, info, X25519PrivateKey.generate())
    context = received(lib, info, enc)
    assert context is not None
    assert change(lib, "sealing_open", context.sealing, aad, sender.sealing.seal(text, aad)) == text
    out = ctypes.create_string_buffer(size)
    assert (
        lib.hpke_export(ctypes.byref(context), aad, ctypes.c_size_t(len(aad)), out, ctypes.c_size_t(size))
        == 0
    )
    assert out.raw == sender.export(aad, size)


@pytest.mark.parametrize("point", rfc9180.LOW_ORDER, ids=bytes.hex)
def test_points_of_low_order_are_refused(lib: ctypes.CDLL, point: bytes) -> None:
    assert received(lib, enc=point) is None


@given(st.integers(0, 44), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_opens_nothing(lib: ctypes.CDLL, at: int, flip: int) -> None:
    context = received(lib)
    assert context is not None
    sealed = bytearray.fromhex(rfc9180.CIPHERTEXTS[0])
    sealed[at] ^= flip
    assert change(lib, "sealing_open", context.sealing, b"Count-0", bytes(sealed)) is None
    assert context.sealing.sequence == 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 44])
def test_a_cut_message_opens_nothing(lib: ctypes.CDLL, size: int) -> None:
    sealing = received(lib)
    assert sealing is not None
    sealed = bytes.fromhex(rfc9180.CIPHERTEXTS[0])[:size]
    assert change(lib, "sealing_open", sealing.sealing, b"Count-0", sealed) is None


def test_no_number_is_used_twice_at_the_end(lib: ctypes.CDLL) -> None:
    context = received(lib)
    assert context is not None
    context.sealing.sequence = 2**64 - 1
    assert change(lib, "sealing_seal", context.sealing, b"", b"x") is None
    nonce = int.from_bytes(rfc9180.BASE_NONCE) ^ (2**64 - 1)
    sealed = ChaCha20Poly1305(rfc9180.KEY).encrypt(nonce.to_bytes(12), b"x", b"")
    assert change(lib, "sealing_open", context.sealing, b"", sealed) is None


@given(
    st.one_of(
        st.binary(min_size=12, max_size=12),
        st.builds(
            lambda kind, size, version, reserved: (
                b"SHIM" + bytes([version, kind]) + reserved.to_bytes(2) + size.to_bytes(4)
            ),
            st.one_of(st.sampled_from(list(frames.MessageType)), st.integers(0, 255)),
            st.one_of(
                st.sampled_from(
                    [
                        edge + step
                        for sizes in frames.SIZES.values()
                        for edge in sizes
                        for step in (-1, 0, 1)
                        if edge + step >= 0
                    ]
                ),
                st.integers(0, 2**32 - 1),
            ),
            st.sampled_from([1, 1, 1, 0, 2]),
            st.sampled_from([0, 0, 0, 1, 256]),
        ),
    )
)
@settings(max_examples=400, deadline=None)
def test_both_sides_accept_the_same_headers(lib: ctypes.CDLL, header: bytes) -> None:
    frame, fault = Frame(), Fault()
    done = lib.frame_read_header(header, ctypes.byref(frame), ctypes.byref(fault))
    try:
        kind, size = frames.read_header(header)
    except FrameError as error:
        assert done == -1
        assert str(fault).split(":")[0] == error.where
    else:
        assert (done, frame.type, frame.size) == (0, kind, size)


def test_every_edge_of_every_type_is_the_same(lib: ctypes.CDLL) -> None:
    for kind, (least, most) in frames.SIZES.items():
        for size, good in ((least, True), (most, True), (least - 1, False), (most + 1, False)):
            if size >= 0:
                header = b"SHIM\1" + bytes([kind]) + b"\0\0" + size.to_bytes(4)
                done = lib.frame_read_header(header, ctypes.byref(Frame()), ctypes.byref(Fault()))
                assert (done == 0) is good, (kind, size)


def test_report_data_is_that_of_the_binding(lib: ctypes.CDLL) -> None:
    out = ctypes.create_string_buffer(64)
    lib.release_report_data(out, b"n" * 32, b"k" * 32, b"p" * 32)
    assert out.raw == binding.report_data(b"n" * 32, b"k" * 32, b"p" * 32)


def test_a_proof_is_that_of_the_relying_party(lib: ctypes.CDLL) -> None:
    terms = Terms(*(tuple(name.encode().ljust(32, b".")) for name, _ in Terms._fields_))
    out = ctypes.create_string_buffer(32)
    lib.release_proof(out, ctypes.byref(terms), b"s" * 32)
    bound = release.Bound(b"nonce".ljust(32, b"."), b"evidence".ljust(32, b"."))
    assert out.raw == bound.proof(b"s" * 32)


def opened(lib: ctypes.CDLL, body: bytes, **others: bytes) -> bytes | str:
    """The secret, or why there is none; then neither is one in memory."""
    parts = {
        "relying_party": SIGNING_KEY.public_key().public_bytes_raw(),
        "nonce": b"n" * 32,
        "evidence": b"e" * 32,
        "private_key": rfc9180.PRIVATE_KEY,
        "public_key": rfc9180.PUBLIC_KEY,
        **others,
    }
    terms = Terms(*(tuple(parts[name]) for name, _ in Terms._fields_))
    room = ctypes.create_string_buffer(body, len(body) + 1)
    secret, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_size_t()
    records, fault = Sealing(), Fault()
    done = lib.release_open(
        ctypes.byref(terms),
        room,
        ctypes.c_size_t(len(body)),
        ctypes.byref(secret),
        ctypes.byref(size),
        ctypes.byref(records),
        ctypes.byref(fault),
    )
    if done == 0:
        return bytes(secret[: size.value])
    assert bytes(records) == bytes(ctypes.sizeof(records))
    assert b"the secret" not in room.raw
    return str(fault)


def sealed(secret: bytes = b"the secret", key: bytes = rfc9180.PUBLIC_KEY, **bound: bytes) -> bytes:
    terms = release.Bound(**{"nonce": b"n" * 32, "evidence": b"e" * 32, **bound})
    return release.seal(secret, terms, key, SIGNING_KEY, X25519PrivateKey.generate())[0].body


@pytest.mark.parametrize("secret", [b"", b"the secret", b"s" * 65536], ids=len)
def test_a_release_opens(lib: ctypes.CDLL, secret: bytes) -> None:
    assert opened(lib, sealed(secret)) == secret


@pytest.mark.parametrize("part", ["relying_party", "nonce", "evidence"])
def test_a_release_for_something_else_is_refused(lib: ctypes.CDLL, part: str) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert str(opened(lib, sealed(), **{part: other})).startswith("release.signature: ")


def test_a_release_for_another_guest_is_refused(lib: ctypes.CDLL) -> None:
    other = X25519PrivateKey.generate().public_key().public_bytes_raw()
    assert str(opened(lib, sealed(key=other))).startswith("release.ciphertext: ")


def test_the_relying_partys_own_nonsense_is_refused(lib: ctypes.CDLL) -> None:
    """A signature does not make a point of low order, or what was sealed for another info, acceptable."""
    bound = release.Bound(b"n" * 32, b"e" * 32)
    for enc, ciphertext, where in (
        (bytes(32), bytes(16), "release.enc"),
        (rfc9180.ENC, bytes(16), "release.ciphertext"),
    ):
        body = enc + SIGNING_KEY.sign(bound.signed(enc, ciphertext)) + ciphertext
        assert str(opened(lib, body)).startswith(f"{where}: ")


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), b"\xff" * 32], ids=bytes.hex)
def test_a_relying_party_without_a_key_signs_nothing(lib: ctypes.CDLL, key: bytes) -> None:
    body = rfc9180.ENC + (1).to_bytes(32, "little") + bytes(32) + bytes(16)
    assert str(opened(lib, body, relying_party=key)).startswith("release.signature: ")


@pytest.mark.parametrize("size", [0, 95, 96, 111, 65649])
def test_a_release_of_another_size_is_refused(lib: ctypes.CDLL, size: int) -> None:
    assert str(opened(lib, bytes(size))) == f"release: found {size}, want 112 to 65648 bytes"


@given(st.integers(0, 121), st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_any_changed_byte_of_a_release_is_refused(lib: ctypes.CDLL, at: int, flip: int) -> None:
    body = bytearray(sealed())
    body[at] ^= flip
    assert str(opened(lib, bytes(body))).startswith("release.signature: ")
