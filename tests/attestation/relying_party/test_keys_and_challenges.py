"""Nonces that nobody remembers, keys that change, and values that only their own place opens."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, strategies as st

from attestation.errors import NotAuthenticError
from attestation.relying_party import challenge, keys, release, vault
from attestation.relying_party.challenge import ROTATION, Challenge
from attestation.relying_party.errors import KeyFileError, RefusedError, StoreIntegrityError
from attestation.relying_party.keys import Keyring, master_key
from attestation.relying_party.release import Context
from attestation.relying_party.vault import Label, Sealed
from attestation.verdict import Verdict
from tests.fakes.relying_party import KEYS, Machine

START = 1_780_000_000
OLD, NEW = master_key(b"0" * 32), master_key(b"1" * 32)


def made(keyring: Keyring = KEYS, now: int = START, lifetime: int = 60) -> Challenge:
    return challenge.make(keyring, os.urandom, now=now, lifetime=lifetime)


# --- challenges


def test_a_nonce_says_until_when_it_counts() -> None:
    asked = made()
    assert (len(asked.nonce), asked.expires) == (32, START + 60)
    assert challenge.check(KEYS, asked.nonce, now=START) == asked
    assert challenge.check(KEYS, asked.nonce, now=START + 60) == asked
    with pytest.raises(RefusedError) as caught:
        challenge.check(KEYS, asked.nonce, now=START + 61)
    assert caught.value.verdict is Verdict.WRONG_BINDING


@given(st.integers(0, 255))
def test_any_bit_changed_makes_it_nobodys(bit: int) -> None:
    nonce = bytearray(made().nonce)
    nonce[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RefusedError):
        challenge.check(KEYS, bytes(nonce), now=START)


@given(st.binary(max_size=64))
def test_no_other_bytes_are_a_nonce(data: bytes) -> None:
    with pytest.raises(RefusedError):
        challenge.check(KEYS, data, now=0)


def test_an_instance_with_the_new_key_takes_nonces_of_the_old_one_but_not_for_ever() -> None:
    asked = made(Keyring((OLD,)))
    assert challenge.check(Keyring((NEW, OLD)), asked.nonce, now=START) == asked
    with pytest.raises(RefusedError):
        challenge.check(Keyring((NEW,)), asked.nonce, now=START)


def test_the_key_of_one_day_makes_no_nonce_of_another() -> None:
    """A nonce whose time is moved by a day is not one, also for somebody with the key of the first day."""
    day = START // ROTATION
    assert NEW.derive(f"challenge {day}") != NEW.derive(f"challenge {day + 1}")
    stolen = NEW.derive(f"challenge {day}")
    body = ((day + 1) * ROTATION + 5).to_bytes(4, "big") + bytes(12)
    import hmac  # noqa: PLC0415

    forged = body + hmac.digest(stolen, body, "sha256")[:16]
    with pytest.raises(RefusedError):
        challenge.check(Keyring((NEW,)), forged, now=START)


@pytest.mark.parametrize("now", [-100, 1 << 32])
def test_times_that_32_bits_do_not_hold_are_the_callers_bug(now: int) -> None:
    with pytest.raises(ValueError, match="2106"):
        made(now=now)


# --- files of keys


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "no key"),
        (b"\n \n", "no key"),
        (b"11" * 31, "31 bytes"),
        (b"11" * 33, "33 bytes"),
        (b"x" * 64, "another character"),
        (b"\xff" * 64, "another character"),
        (b"11" * 32 + b"\n" + b"11" * 32, "a key twice"),
        (b"11" * 32 + b"\nshort", "another character"),
    ],
)
def test_what_is_no_file_of_keys(text: bytes, found: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        keys.load(text, "keys")
    assert (caught.value.found, caught.value.exit_code) == (found, 2)
    assert "11" * 16 not in str(caught.value)
    assert "x" * 16 not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_first_key_is_in_use_and_none_shows_in_a_log() -> None:
    loaded = keys.load(b"31" * 32 + b"\n\n" + b"30" * 32 + b"\n", "keys")
    assert loaded == KEYS
    assert loaded.current == NEW
    assert "31" * 8 not in repr(loaded)
    assert "1111" not in repr(loaded)


def test_a_key_of_another_length_is_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        master_key(bytes(31))


# --- the vault

LABEL = Label("a", 1, "p")


def test_a_value_opens_in_its_own_place_alone() -> None:
    sealed = vault.seal(KEYS, LABEL, b"value", os.urandom)
    assert vault.open_sealed(KEYS, LABEL, sealed) == b"value"
    assert b"value" not in sealed.data
    for other in (Label("b", 1, "p"), Label("a", 2, "p"), Label("a", 1, "q")):
        with pytest.raises(StoreIntegrityError, match="does not belong there"):
            vault.open_sealed(KEYS, other, sealed)


@given(st.integers(0, (12 + 5 + 16) * 8 - 1))
def test_a_changed_value_opens_nowhere(bit: int) -> None:
    sealed = vault.seal(KEYS, LABEL, b"value", os.urandom)
    data = bytearray(sealed.data)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StoreIntegrityError):
        vault.open_sealed(KEYS, LABEL, Sealed(sealed.key_id, bytes(data)))


@pytest.mark.parametrize("size", range(29))
def test_a_value_that_was_cut_opens_nowhere(size: int) -> None:
    sealed = vault.seal(KEYS, LABEL, b"value", os.urandom)
    with pytest.raises(StoreIntegrityError):
        vault.open_sealed(KEYS, LABEL, Sealed(sealed.key_id, sealed.data[:size]))


def test_an_old_key_opens_what_it_sealed_and_an_unknown_one_is_named() -> None:
    sealed = vault.seal(Keyring((OLD,)), LABEL, b"value", os.urandom)
    assert vault.open_sealed(Keyring((NEW, OLD)), LABEL, sealed) == b"value"
    with pytest.raises(StoreIntegrityError, match=OLD.id.hex()):
        vault.open_sealed(Keyring((NEW,)), LABEL, sealed)


# --- releases

CONTEXT = Context(b"n" * 32, b"e" * 32, "disk")


def test_a_release_is_for_one_key_one_question_and_one_resource() -> None:
    machine = Machine()
    own = machine.key.private_bytes_raw()
    sealed = release.seal(b"value", machine.public, CONTEXT)
    assert release.open_release(sealed, own, CONTEXT) == b"value"
    others = (
        Context(b"m" * 32, b"e" * 32, "disk"),
        Context(b"n" * 32, b"f" * 32, "disk"),
        Context(b"n" * 32, b"e" * 32, "disk2"),
    )
    for other in others:
        with pytest.raises(NotAuthenticError):
            release.open_release(sealed, own, other)
    with pytest.raises(NotAuthenticError):
        release.open_release(sealed, Machine().key.private_bytes_raw(), CONTEXT)
    for size in (0, 1, 31, 32, 47, len(sealed) - 1):
        with pytest.raises(NotAuthenticError):
            release.open_release(sealed[:size], own, CONTEXT)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), bytes([0xEC]) + b"\xff" * 30 + b"\x7f"])
def test_nothing_is_sealed_to_a_key_that_everybody_has(point: bytes) -> None:
    with pytest.raises(NotAuthenticError, match="small order"):
        release.seal(b"value", point, CONTEXT)
