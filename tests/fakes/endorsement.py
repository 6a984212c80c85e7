"""A TPM's maker, and what only a TPM can do with a credential: real keys, each part can be replaced."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from tests.fakes.aws import MADE
from tests.fakes.tpm import BITS, elliptic, rsa_key

EK = "2.23.133.8.1"
STORAGE = ("fixed_tpm", "fixed_parent", "sensitive_data_origin", "restricted", "decrypt")
NAMES = (("2.23.133.2.1", "id:53484D00"), ("2.23.133.2.2", "chip"), ("2.23.133.2.3", "id:1"))


@dataclass(frozen=True, kw_only=True)
class Endorsed:
    """An endorsement key with its certificate; `curve` is None for RSA."""

    curve: str | None = None
    bits: int = 2048
    key: str = "ek"
    certified: str = "ek"
    attributes: tuple[str, ...] = STORAGE
    purposes: tuple[str, ...] = (EK,)
    names: tuple[tuple[str, str], ...] = NAMES
    receives_keys: bool = True
    authority: bool = False
    signer: str = "maker"
    start: datetime = MADE
    critical: str | None = None
    padding: bytes = b""

    def private(self, name: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        return rsa_key(name, self.bits) if self.curve is None else elliptic(name, self.curve)

    def public(self) -> bytes:
        key = self.private(self.key).public_key()
        kind = 1 if self.curve is None else 0x23
        area = struct.pack(">HHIH", kind, 0x0B, sum(1 << BITS[one] for one in self.attributes), 0)
        area += struct.pack(">HHHH", 6, 128, 0x43, 0x10)
        if isinstance(key, rsa.RSAPublicKey):
            modulus = key.public_numbers().n.to_bytes(self.bits // 8)
            return area + struct.pack(">HI", self.bits, 0) + sized(modulus)
        point = key.public_numbers()
        return area + struct.pack(">HH", 3, 0x10) + sized(point.x.to_bytes(32)) + sized(point.y.to_bytes(32))

    def certificate(self) -> bytes:
        attributes = [x509.NameAttribute(x509.ObjectIdentifier(oid), text) for oid, text in self.names]
        is_rsa, gets = self.curve is None, self.receives_keys
        usage = x509.KeyUsage(
            not gets, False, gets and is_rsa, False, gets and not is_rsa, self.authority, False, False, False
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_name("maker"))
            .public_key(self.private(self.certified).public_key())
            .serial_number(9)
            .not_valid_before(self.start)
            .not_valid_after(self.start + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=self.authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        if self.purposes:
            purposes = [x509.ObjectIdentifier(one) for one in self.purposes]
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if attributes:
            names = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))])
            builder = builder.add_extension(names, critical=True)
        if self.critical is not None:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(self.critical), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        made = builder.sign(rsa_key(self.signer), hashes.SHA256())
        return made.public_bytes(serialization.Encoding.DER)

    def parts(self) -> dict[str, str]:
        return {
            "ek_public": self.public().hex(),
            "ek_certificate": (self.certificate() + self.padding).hex(),
        }

    def open(self, credential: bytes, name: bytes) -> bytes | None:
        """Return the secret, if it is for this key and the one of this name: TPM2_ActivateCredential."""
        identity_size = int.from_bytes(credential[:2])
        identity, sealed = credential[2 : 2 + identity_size], credential[4 + identity_size :]
        mac, encrypted = identity[2:34], identity[34:]
        try:
            seed = self._seed(sealed)
        except ValueError:  # sealed to another RSA key
            return None
        key = kdfa(seed, b"INTEGRITY", b"", 256)
        if not hmac.compare_digest(hmac.digest(key, encrypted + name, "sha256"), mac):
            return None
        block = Cipher(algorithms.AES(kdfa(seed, b"STORAGE", name, 128)), modes.ECB()).encryptor()  # noqa: S305
        found, last = b"", bytes(16)
        for at in range(0, len(encrypted), 16):
            part = encrypted[at : at + 16]
            found += bytes(a ^ b for a, b in zip(part, block.update(last), strict=False))
            last = part.ljust(16, b"\0")
        return found[2 : 2 + int.from_bytes(found[:2])]

    def _seed(self, sealed: bytes) -> bytes:
        private = self.private(self.key)
        if isinstance(private, rsa.RSAPrivateKey):
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
            return private.decrypt(sealed, oaep)
        x, y = sealed[2:34], sealed[36:68]
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), private.curve)
        shared = private.exchange(ec.ECDH(), point.public_key())
        own = private.public_key().public_numbers().x.to_bytes(32)
        return hashlib.sha256((1).to_bytes(4) + shared + b"IDENTITY\0" + x + own).digest()


def kdfa(seed: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa of at most one block."""
    text = (1).to_bytes(4) + label + b"\0" + context + bits.to_bytes(4)
    return hmac.digest(seed, text, "sha256")[: bits // 8]


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
