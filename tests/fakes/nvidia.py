"""A device of a fake NVIDIA: real keys and the encoding of the genuine ones; each part can be replaced."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation.endorsements import Endorsements
from tests.fakes import aws

FWID = hashlib.sha384(b"firmware").digest()
TCB_INFO = ("2.23.133.5.4.1", b"\x30\x3a" + bytes(10) + FWID)
LEAF = aws.certificate("leaf", "instance", extension=TCB_INFO)
CHAIN = (LEAF, *aws.CHAIN[1:])
MEASUREMENTS = {index: bytes([index]) * 48 for index in range(1, 65)}
OPAQUE = {3: b"590.12\0", 6: struct.pack("<II", 0x9600A500, 1), 15: b"885\0", 20: FWID}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One answer to a request for measurements."""

    nonce: bytes = field(default_factory=lambda: hashlib.sha256(bytes(64)).digest())
    request: bytes = bytes.fromhex("11e001ff")
    head: bytes = bytes.fromhex("11600000")
    measurements: Mapping[int, bytes] = field(default_factory=lambda: MEASUREMENTS)
    opaque: Mapping[int, bytes] = field(default_factory=lambda: OPAQUE)
    count: int | None = None
    specification: int = 1
    signer: str = "leaf"
    behind: bytes = b""
    chain: tuple[bytes, ...] = CHAIN

    def evidence(self) -> bytes:
        record = b"".join(
            struct.pack("<BBHBH", index, self.specification, len(value) + 3, 1, len(value)) + value
            for index, value in self.measurements.items()
        )
        opaque = b"".join(
            struct.pack("<HH", number, len(value)) + value for number, value in self.opaque.items()
        )
        count = len(self.measurements) if self.count is None else self.count
        signed = self.request + self.nonce + b"\0" + self.head + bytes([count])
        signed += len(record).to_bytes(3, "little") + record + bytes(32)
        signed += len(opaque).to_bytes(2, "little") + opaque
        r, s = decode_dss_signature(aws.key(self.signer).sign(signed, ec.ECDSA(hashes.SHA384())))
        return signed + r.to_bytes(48, "big") + s.to_bytes(48, "big") + self.behind

    def endorsements(self, *lists: bytes) -> Endorsements:
        return Endorsements(self.chain, lists)
