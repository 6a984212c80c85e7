"""HPKE against the vectors of its RFC, against the module of `cryptography`, and against changed bytes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings, strategies as st

from attestation.channel import hpke
from attestation.channel.errors import ReleaseError
from tests import rfc9180

KEYS = st.binary(min_size=32, max_size=32).map(X25519PrivateKey.from_private_bytes)


def recipient() -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(rfc9180.PRIVATE_KEY)


def both() -> list[hpke.Context]:
    ephemeral = X25519PrivateKey.from_private_bytes(rfc9180.EPHEMERAL)
    enc, sender = hpke.send(rfc9180.PUBLIC_KEY, rfc9180.INFO, ephemeral)
    assert enc == rfc9180.ENC
    return [sender, hpke.receive(recipient(), enc, rfc9180.INFO)]


def test_the_key_schedule_is_that_of_the_rfc() -> None:
    for context in both():
        assert context.key == rfc9180.KEY
        assert context.base_nonce == rfc9180.BASE_NONCE
        assert context.exporter_secret == rfc9180.EXPORTER_SECRET


@pytest.mark.parametrize("sequence", rfc9180.CIPHERTEXTS)
def test_messages_are_those_of_the_rfc(sequence: int) -> None:
    sender, receiver = both()
    aad, sealed = b"Count-%d" % sequence, bytes.fromhex(rfc9180.CIPHERTEXTS[sequence])
    sender.sealing.sequence = receiver.sealing.sequence = sequence
    assert sender.sealing.seal(rfc9180.TEXT, aad) == sealed
    assert receiver.sealing.open(sealed, aad) == rfc9180.TEXT
    assert receiver.sealing.sequence == sequence + 1


@pytest.mark.parametrize("context", rfc9180.EXPORTS)
def test_exports_are_those_of_the_rfc(context: bytes) -> None:
    for side in both():
        assert side.export(context, 32).hex() == rfc9180.EXPORTS[context]


@given(KEYS, st.binary(max_size=200), st.binary(max_size=80))
@settings(max_examples=30, deadline=None)
def test_the_module_of_cryptography_opens_what_is_sealed(
    ephemeral: X25519PrivateKey, text: bytes, info: bytes
) -> None:
    theirs = pytest.importorskip("cryptography.hazmat.primitives.hpke", reason="cryptography without HPKE")
    suite = theirs.Suite(theirs.KEM.X25519, theirs.KDF.HKDF_SHA256, theirs.AEAD.CHACHA20_POLY1305)
    enc, sender = hpke.send(rfc9180.PUBLIC_KEY, info, ephemeral)
    assert suite.decrypt(enc + sender.sealing.seal(text), recipient(), info) == text
    sealed = suite.encrypt(text, X25519PublicKey.from_public_bytes(rfc9180.PUBLIC_KEY), info)
    assert hpke.receive(recipient(), sealed[:32], info).sealing.open(sealed[32:]) == text


@pytest.mark.parametrize("point", rfc9180.LOW_ORDER, ids=bytes.hex)
def test_points_of_low_order_are_refused(point: bytes) -> None:
    with pytest.raises(ReleaseError, match="X25519"):
        hpke.receive(recipient(), point, b"")
    with pytest.raises(ReleaseError, match="X25519"):
        hpke.send(point, b"", recipient())


@given(st.integers(0, 44), st.integers(1, 255))
@settings(max_examples=30, deadline=None)
def test_a_changed_byte_opens_nothing_and_counts_nothing(at: int, change: int) -> None:
    _, receiver = both()
    sealed = bytearray.fromhex(rfc9180.CIPHERTEXTS[0])
    sealed[at] ^= change
    assert receiver.sealing.open(bytes(sealed), b"Count-0") is None
    assert receiver.sealing.sequence == 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 44])
def test_a_cut_message_opens_nothing(size: int) -> None:
    _, receiver = both()
    assert receiver.sealing.open(bytes.fromhex(rfc9180.CIPHERTEXTS[0])[:size], b"Count-0") is None


@pytest.mark.parametrize(
    ("aad", "sequence"), [(b"", 0), (b"Count-1", 0), (b"Count-0", 1), (b"Count-0", 2**63)]
)
def test_another_place_or_aad_opens_nothing(aad: bytes, sequence: int) -> None:
    _, receiver = both()
    receiver.sealing.sequence = sequence
    assert receiver.sealing.open(bytes.fromhex(rfc9180.CIPHERTEXTS[0]), aad) is None


def test_another_info_or_key_opens_nothing() -> None:
    sealed = bytes.fromhex(rfc9180.CIPHERTEXTS[0])
    for key, info in ((recipient(), b"x"), (X25519PrivateKey.generate(), rfc9180.INFO)):
        assert hpke.receive(key, rfc9180.ENC, info).sealing.open(sealed, b"Count-0") is None


def test_no_number_is_used_twice_at_the_end() -> None:
    sender, receiver = both()
    sender.sealing.sequence = receiver.sealing.sequence = 2**64 - 1
    with pytest.raises(OverflowError):
        sender.sealing.seal(b"")
    with pytest.raises(OverflowError):
        receiver.sealing.open(bytes(16))
