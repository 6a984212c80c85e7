"""
What names an SEV-SNP guest to its host and its owner: ID block and ID authentication information.

The host starts a guest with an ID block only if it has the launch digest that stands there, and the block is
signed; the report then carries the digests of both keys.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from images.measure.errors import KeyUnfitError, LaunchParameterError

SOURCE = 'AMD 56860 r1.58, section 8.18, "SNP_LAUNCH_FINISH", structures of ID_BLOCK and ID_AUTH_INFO'
DEFAULT_POLICY = 0x30000  # SMT is allowed, and bit 17, which must be set
_BLOCK = struct.Struct("<48s16s16sIIQ")
_VERSION = 1
_MUST_BE_ONE = 1 << 17
_ECDSA_P384_SHA384 = 1
_CURVE_P384 = 2
_AUTHENTICATION = struct.Struct("<II56x512s1028s60x512s1028s892x")
_KEY = struct.Struct("<I72s72s880x")
_SIGNATURE = struct.Struct("<72s72s368x")


@dataclass(frozen=True, slots=True)
class IdBlock:
    """
    What a guest must be, and what its owner calls it.

    Attributes:
        launch_digest: 48 bytes.
        family_id, image_id: Names that the owner chose, 16 bytes each.
        guest_svn: The security version of the image.
        policy: The guest policy with which it must be started.

    Raises:
        LaunchParameterError: a field that does not fit.
    """

    launch_digest: bytes
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    guest_svn: int = 0
    policy: int = DEFAULT_POLICY

    def __post_init__(self) -> None:
        for name, value, size in (
            ("launch digest", self.launch_digest, 48),
            ("family ID", self.family_id, 16),
            ("image ID", self.image_id, 16),
        ):
            if len(value) != size:
                raise LaunchParameterError(f"ID block.{name}", f"{len(value)} bytes", f"{size}", SOURCE)
        if not 0 <= self.guest_svn < 1 << 32:
            raise LaunchParameterError("ID block.guest SVN", str(self.guest_svn), "32 bits", SOURCE)
        if not 0 <= self.policy < 1 << 64 or not self.policy & _MUST_BE_ONE:
            raise LaunchParameterError(
                "ID block.policy", f"{self.policy:#x}", "bit 17 set, of 64 bits", SOURCE
            )

    def encoded(self) -> bytes:
        """Return the 96 bytes of the block."""
        names = (self.family_id, self.image_id)
        return _BLOCK.pack(self.launch_digest, *names, _VERSION, self.guest_svn, self.policy)


@dataclass(frozen=True, slots=True)
class SignedIdBlock:
    """
    An ID block that a host accepts.

    Attributes:
        block: The ID block, 96 bytes.
        authentication: The ID authentication information, 4096 bytes.
        id_key_digest, author_key_digest: What the report will say of the keys; zero for one that is not used.
    """

    block: bytes
    authentication: bytes
    id_key_digest: bytes
    author_key_digest: bytes


def sign(
    block: IdBlock, id_key: ec.EllipticCurvePrivateKey, author_key: ec.EllipticCurvePrivateKey | None = None
) -> SignedIdBlock:
    """
    Return a block signed by `id_key`, and that key signed by `author_key`, where there is one.

    Raises:
        KeyUnfitError: a key that is not on P-384.

    Source:
        AMD publication 56860, revision 1.58, section 8.18; chapter 10, "Digital Signatures", for keys and
        signatures; QEMU 10.0, qapi/qom.json, SevSnpGuestProperties, id-block and id-auth.
    """
    encoded, key = block.encoded(), public_key(id_key)
    author = (0, bytes(_SIGNATURE.size), bytes(_KEY.size))
    digest = bytes(48)
    if author_key is not None:
        author = (_ECDSA_P384_SHA384, _signature(author_key, key), public_key(author_key))
        digest = hashlib.sha384(author[2]).digest()
    algorithms = (_ECDSA_P384_SHA384, author[0])
    authentication = _AUTHENTICATION.pack(*algorithms, _signature(id_key, encoded), key, *author[1:])
    return SignedIdBlock(encoded, authentication, hashlib.sha384(key).digest(), digest)


def public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """
    Return the 1028 bytes in which the secure processor takes the public part of a key.

    Raises:
        KeyUnfitError: it is not on P-384.
    """
    if not isinstance(key.curve, ec.SECP384R1):
        raise KeyUnfitError("key", f"one on {key.curve.name}", "one on secp384r1 (P-384)", SOURCE)
    point = key.public_key().public_numbers()
    return _KEY.pack(_CURVE_P384, point.x.to_bytes(72, "little"), point.y.to_bytes(72, "little"))


def read_key(pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """
    Return the private key in a PEM file without a password.

    Raises:
        KeyUnfitError: no such key, or one that is not on an elliptic curve.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnfitError(
            where, "no private key that can be read", "one in PEM, without a password"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyUnfitError(where, "a key for something else", "one on secp384r1 (P-384)", SOURCE)
    return key


def _signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA384())))
    return _SIGNATURE.pack(r.to_bytes(72, "little"), s.to_bytes(72, "little"))
