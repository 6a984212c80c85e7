"""What goes into a credential.  That TPMs open it is tested on one: tests/native/test_tpm2.py."""

from __future__ import annotations

import hashlib
import os
import struct

import pytest

from attestation.errors import EvidenceFormatError
from attestation.tpm import credential, public_area
from attestation.tpm.credential import Target
from tests.fakes.tpm import BITS, Tpm

STORAGE = ("fixed_tpm", "fixed_parent", "sensitive_data_origin", "restricted", "decrypt")
NAME = b"\0\x0b" + bytes(32)
SECRET = bytes(range(32))
AES_CFB = struct.pack(">HHH", 6, 128, 0x43)


def storage(fake: Tpm, *, symmetric: bytes = AES_CFB, scheme: int = 0x10) -> bytes:
    """The public area of a key that protects others, as the TCG's profile has them."""
    plain = fake.public()
    at = 4 + 4 + 2  # behind type, nameAlg, attributes and an empty policy
    head = plain[:4] + struct.pack(">I", sum(1 << BITS[one] for one in STORAGE)) + bytes(2)
    behind = plain[at + 2 + 4 :]
    hash_of_scheme = b"" if scheme == 0x10 else struct.pack(">H", 0x0B)
    return head + symmetric + struct.pack(">H", scheme) + hash_of_scheme + behind


RSA, P256, P384 = Tpm(), Tpm(curve="P-256", scheme=0x18), Tpm(curve="P-384", scheme=0x18)


@pytest.mark.parametrize(("fake", "sealed"), [(RSA, 256), (P256, 2 * (2 + 32)), (P384, 2 * (2 + 48))])
def test_sizes_are_those_of_the_key(fake: Tpm, sealed: int) -> None:
    area = public_area.parse_storage(storage(fake))
    assert (area.symmetric_bits, area.scheme) == (128, None)
    assert area.name[2:] == hashlib.sha256(storage(fake)).digest()
    data = credential.make(Target(area, NAME), SECRET, os.urandom)
    size = int.from_bytes(data[:2])
    assert size == 2 + 32 + 2 + len(SECRET)
    assert int.from_bytes(data[2 + size :][:2]) == sealed
    assert len(data) == 2 + size + 2 + sealed


@pytest.mark.parametrize("fake", [RSA, P256])
def test_each_credential_is_another(fake: Tpm) -> None:
    target = Target(public_area.parse_storage(storage(fake)), NAME)
    assert len({credential.make(target, SECRET, os.urandom) for _ in range(5)}) == 5


def test_the_caller_has_to_give_what_can_be_sealed() -> None:
    area = public_area.parse_storage(storage(P256))
    with pytest.raises(ValueError, match="33 bytes"):
        credential.make(Target(area, NAME), bytes(33), os.urandom)
    signing = public_area.parse(P256.public())
    with pytest.raises(ValueError, match="does not decrypt"):
        credential.make(Target(signing, NAME), SECRET, os.urandom)


@pytest.mark.parametrize(
    "data",
    [
        RSA.public(),
        storage(RSA, scheme=0x14),
        storage(RSA, symmetric=struct.pack(">HHH", 6, 128, 0x44)),
        storage(RSA, symmetric=struct.pack(">HHH", 6, 64, 0x43)),
        storage(RSA, symmetric=struct.pack(">HHH", 0x26, 128, 0x43)),
        storage(RSA)[:-1],
        storage(P256) + b"\0",
    ],
)
def test_other_keys_protect_nothing(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        public_area.parse_storage(data)


def test_a_key_that_protects_others_signs_nothing() -> None:
    with pytest.raises(EvidenceFormatError, match="only keys that decrypt"):
        public_area.parse(storage(RSA))
