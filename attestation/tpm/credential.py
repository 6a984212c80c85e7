"""
How does a secret get to nobody but the TPM that holds two keys?

A credential is sealed to the endorsement key, which its maker vouches for, and names an attestation key: a
TPM opens it only if that key is in it too.  Who tells the secret has shown that both keys are in one TPM.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from attestation.tpm.public_area import PublicArea
from attestation.tpm.signature import HASHES

SOURCE = 'TCG TPM 2.0 Library, part 1, rev. 1.59, section 24, "Credential Protection"'
SECRET_SIZE = 32
_IDENTITY = b"IDENTITY"
_BLOCK = 16
# SP 800-186, section 3.2.1: how many points the curves have.
_ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """
    For which TPM a credential is.

    Attributes:
        endorsement: Its endorsement key, which only decrypts.
        name: Of its attestation key.
    """

    endorsement: PublicArea
    name: bytes


def make(target: Target, secret: bytes, randomness: Callable[[int], bytes]) -> bytes:
    """
    Return a credential: TPM2B_ID_OBJECT, and behind it TPM2B_ENCRYPTED_SECRET.

    Args:
        target: For which TPM.
        secret: What its holder will be able to tell; no longer than a digest of the endorsement key's hash.
        randomness: Returns as many random bytes as it is asked for.

    Raises:
        ValueError: the key is not one that decrypts, or the secret is too long: the caller's bug.

    Not checked:
        Whose the endorsement key is: `attestation.tpm.endorsement` does.

    Source:
        TCG TPM 2.0 Library, part 1, revision 1.59, section 24, "Credential Protection"; annex B.10.4 (RSA)
        and C.6.4 (ECC), "Secret Sharing for Credentials"; part 3, section 12.6, "TPM2_MakeCredential".
    """
    key = target.endorsement
    if key.symmetric_bits is None:
        raise ValueError("a credential for a key that does not decrypt")
    algorithm = HASHES[key.name_hash]
    if len(secret) > algorithm.digest_size:
        raise ValueError(f"a secret of {len(secret)} bytes, above {algorithm.digest_size}")
    seed, encrypted_seed = _seed(key.key, algorithm, randomness)
    storage = _kdfa(algorithm, seed, b"STORAGE", target.name, key.symmetric_bits)
    identity = _cfb(storage, struct.pack(">H", len(secret)) + secret)
    integrity = hmac.HMAC(_kdfa(algorithm, seed, b"INTEGRITY", b"", 8 * algorithm.digest_size), algorithm)
    integrity.update(identity + target.name)
    return _sized(_sized(integrity.finalize()) + identity) + _sized(encrypted_seed)


def _seed(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    algorithm: hashes.HashAlgorithm,
    randomness: Callable[[int], bytes],
) -> tuple[bytes, bytes]:
    """Return a fresh seed, and what only the holder of a key gets it from."""
    if isinstance(key, rsa.RSAPublicKey):
        seed = randomness(algorithm.digest_size)
        oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, _IDENTITY + b"\0")
        return seed, key.encrypt(seed, oaep)
    size = (key.key_size + 7) // 8
    own = ec.derive_private_key(_scalar(key.curve, randomness), key.curve)
    point = own.public_key().public_numbers()
    x, y = point.x.to_bytes(size), point.y.to_bytes(size)
    # KDFe: part 1, section 11.4.10.3; the labels end in a zero.
    information = _IDENTITY + b"\0" + x + key.public_numbers().x.to_bytes(size)
    derive = ConcatKDFHash(algorithm, algorithm.digest_size, information)
    return derive.derive(own.exchange(ec.ECDH(), key)), _sized(x) + _sized(y)


def _scalar(curve: ec.EllipticCurve, randomness: Callable[[int], bytes]) -> int:
    """
    Return a private key, from 1 to the order less 1.

    Source:
        FIPS 186-5, appendix A.2.1: 64 bits more than the order has, so that no value is likelier by much.
    """
    order = _ORDERS[curve.name]
    return int.from_bytes(randomness((order.bit_length() + 7) // 8 + 8)) % (order - 1) + 1


def _kdfa(algorithm: hashes.HashAlgorithm, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """Return `bits` of KDFa: part 1, section 11.4.10.2, which is SP 800-108 in counter mode."""
    derive = KBKDFHMAC(
        algorithm=algorithm,
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return derive.derive(key)


def _cfb(key: bytes, data: bytes) -> bytes:
    """Return `data` in AES-CFB with an IV of zeros: the library keeps that mode among what it will drop."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # of single blocks, for CFB
    found, last = b"", bytes(_BLOCK)
    for at in range(0, len(data), _BLOCK):
        last = bytes(a ^ b for a, b in zip(data[at : at + _BLOCK], block.update(last), strict=False))
        found += last
    return found


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
