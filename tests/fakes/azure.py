"""
A confidential VM of Azure of our own: a paravisor on a fake chip or domain, and a vTPM with a real key.

Each part can be replaced, so that a test case can break exactly one thing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.fakes import intel
from tests.fakes.amd import Chip

REGISTERS = tuple(hashlib.sha256(bytes([number])).digest() for number in range(24))
CONFIGURATION = {"secure-boot": True, "tpm-enabled": True, "console-enabled": False, "vmUniqueId": "ONE"}


@functools.cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:  # noqa: ARG001  # the name only tells keys apart
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(name: str, kid: str, bits: int = 2048) -> dict[str, Any]:
    return jwk_of(key(name, bits).public_key().public_numbers().n, bits, kid)


def jwk_of(modulus: int, bits: int, kid: str) -> dict[str, Any]:
    n = base64.urlsafe_b64encode(modulus.to_bytes(bits // 8, "big")).rstrip(b"=").decode()
    return {"kid": kid, "kty": "RSA", "key_ops": ["sign"], "e": "AQAB", "n": n}


def attest(
    extra_data: bytes, selected: tuple[int, ...], *, magic: int = 0xFF544347, kind: int = 0x8018,
    bank: int = 0x0B, banks: int = 1, registers: tuple[bytes, ...] = REGISTERS, behind: bytes = b"",
) -> bytes:  # fmt: skip
    """TPMS_ATTEST over registers."""
    digest = hashlib.sha256(b"".join(registers[number] for number in selected)).digest()
    bits = sum(1 << number for number in selected).to_bytes(3, "little")
    return (
        struct.pack(">IH", magic, kind)
        + struct.pack(">H", 34) + b"\0\x0b" + bytes(32)
        + struct.pack(">H", len(extra_data)) + extra_data
        + struct.pack(">QII?Q", 1, 2, 3, True, 4)
        + struct.pack(">IHB", banks, bank, 3) + bits
        + struct.pack(">H", 32) + digest + behind
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Azure:
    """Everything that the evidence of one VM is made from."""

    tee: str = "snp"
    keys: tuple[dict[str, Any], ...] = field(default_factory=lambda: (jwk("ak", "HCLAkPub"),))
    configuration: Mapping[str, Any] = field(default_factory=lambda: CONFIGURATION)
    user_data: str = "00" * 64
    vouched: bytes | None = None
    hash_type: int = 1
    header: bytes = b"HCLA"
    behind: bytes = bytes(64)
    message: bytes = field(
        default_factory=lambda: attest(hashlib.sha256(bytes(64)).digest(), tuple(range(16)))
    )
    signer: str = "ak"
    bits: int = 2048
    wrapped: bool = False
    registers: tuple[bytes, ...] = REGISTERS
    chip: Chip = field(default_factory=Chip)
    td: Mapping[str, bytes] = field(default_factory=dict)
    raw_td: Mapping[int, bytes] = field(default_factory=dict)

    def data(self) -> bytes:
        values = {
            "keys": list(self.keys),
            "vm-configuration": dict(self.configuration),
            "user-data": self.user_data,
        }
        return json.dumps(values).encode()

    def report_data(self) -> bytes:
        if self.vouched is not None:
            return self.vouched
        name = {1: "sha256", 2: "sha384", 3: "sha512"}.get(self.hash_type, "sha256")
        return hashlib.new(name, self.data()).digest().ljust(64, b"\0")

    def machine(self) -> intel.Intel:
        report = intel.td(**{"report_data": self.report_data(), **self.td})[:584]
        return intel.Intel(version=4, report=report)

    def hardware(self) -> bytes:
        if self.tee == "snp":
            return self.chip.report(3, REPORT_DATA=self.report_data())
        report = self.machine().report
        raw = bytearray(1184)
        raw[128:192] = self.report_data()
        raw[512:520], raw[520:528], raw[528:576] = report[120:128], report[128:136], report[136:184]
        raw[576:720], raw[720:912] = report[184:328], report[328:520]
        for place, value in self.raw_td.items():
            raw[place : place + len(value)] = value
        return bytes(raw)

    def hcl(self) -> bytes:
        data, kind = self.data(), {"snp": 2, "tdx": 4}[self.tee]
        head = self.header + struct.pack("<III16x", 2, 1184 + 20 + len(data), 2)
        return (
            head
            + self.hardware()
            + struct.pack("<IIIII", 20 + len(data), 1, kind, self.hash_type, len(data))
            + data
            + self.behind
        )

    def parts(self) -> dict[str, Any]:
        signature = key(self.signer, self.bits).sign(self.message, padding.PKCS1v15(), hashes.SHA256())
        if self.wrapped:
            signature = struct.pack(">HHH", 0x14, 0x0B, len(signature)) + signature
        quote = {
            "message": self.message.hex(),
            "signature": signature.hex(),
            "pcrs": [register.hex() for register in self.registers],
        }
        found: dict[str, Any] = {"hcl_report": self.hcl().hex(), "tpm_quote": quote}
        if self.tee == "tdx":
            found["td_quote"] = self.machine().quote().hex()
        return found

    def evidence(self) -> bytes:
        return json.dumps(self.parts()).encode()
