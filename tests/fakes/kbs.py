"""A guest of Confidential Containers, written from the protocol's document and its client's source."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwe as jose
from joserfc.jwk import ECKey, RSAKey
from jwcrypto import jwe as crypto, jwk

from attestation.simulated.collect import collect
from shim.canonical import canonical_bytes

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def b64url(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


@dataclass
class Guest:
    """Its key, and what it makes of a challenge."""

    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    tee: str = "sample"

    @property
    def jwk(self) -> dict[str, str]:
        numbers: Any = self.key.public_key().public_numbers()
        if isinstance(self.key, rsa.RSAPrivateKey):
            size = self.key.key_size // 8
            return {
                "kty": "RSA",
                "alg": "RSA-OAEP-256",
                "n": b64url(numbers.n, size),
                "e": b64url(numbers.e, 3),
            }
        size = (self.key.curve.key_size + 7) // 8
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[self.key.curve.key_size]
        place = {"x": b64url(numbers.x, size), "y": b64url(numbers.y, size)}
        return {"kty": "EC", "crv": curve, "alg": "ECDH-ES+A256KW", **place}

    def request(self) -> dict[str, Any]:
        known = {"supported-hash-algorithms": ["sha-256", "sha-384", "sha-512"]}
        return {"version": "0.4.0", "tee": self.tee, "extra-params": known}

    def report_data(self, nonce: str, additional: str = "") -> bytes:
        said: Any = {"tee-pubkey": self.jwk, "nonce": nonce, "additional-evidence": additional}
        return hashlib.sha384(canonical_bytes(said)).digest().ljust(64, b"\0")

    def attestation(self, challenge: Mapping[str, Any]) -> dict[str, Any]:
        nonce = challenge["nonce"]
        report = collect(self.report_data(nonce))[0]
        return {
            "init-data": None,
            "runtime-data": {"nonce": nonce, "tee-pubkey": self.jwk},
            "tee-evidence": {
                "primary_evidence": {"simulated_report": base64.b64encode(report).decode()},
                "additional_evidence": "",
            },
        }

    def digest(self, nonce: str, additional: str | None = None) -> bytes:
        """What evidence of the machine is bound to; without `additional`, what that of its devices is."""
        said: Any = {"tee-pubkey": self.jwk, "nonce": nonce}
        if additional is not None:
            said["additional-evidence"] = additional
        return hashlib.sha384(canonical_bytes(said)).digest()

    def answer(
        self, challenge: Mapping[str, Any], wrapped: Mapping[str, Any], additional: str = ""
    ) -> dict[str, Any]:
        """Return an attestation with evidence that is wrapped already."""
        evidence = {"primary_evidence": wrapped, "additional_evidence": additional}
        runtime_data = {"nonce": challenge["nonce"], "tee-pubkey": self.jwk}
        return {"init-data": None, "runtime-data": runtime_data, "tee-evidence": evidence}

    def open(self, answer: Mapping[str, str]) -> bytes:
        """Open a resource with two libraries, and the way that a guest's own code authenticates the header."""
        padded = answer["protected"] + "=" * (-len(answer["protected"]) % 4)
        header = json.loads(base64.urlsafe_b64decode(padded))
        assert respelled(header) == answer["protected"]
        pem = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())  # fmt: skip
        own = (RSAKey if isinstance(self.key, rsa.RSAPrivateKey) else ECKey).import_key(pem)
        algorithms = [header["alg"], header["enc"]]
        found = jose.decrypt_json(dict(answer), own, algorithms=algorithms).plaintext
        token = crypto.JWE(algs=algorithms)
        token.deserialize(json.dumps(dict(answer)), jwk.JWK.from_pem(pem))
        assert token.payload == found
        return found or b""


def vtpm(parts: Mapping[str, Any], version: int, certificate: bytes = b"") -> dict[str, Any]:
    """Return evidence of a machine on Azure as its attester wraps it; `certificate` is DER, and SEV-SNP's alone."""
    hcl, quote, td_quote = parts["hcl_report"], parts["tpm_quote"], parts.get("td_quote")
    if version == 0:
        arrays = {name: list(bytes.fromhex(quote[name])) for name in ("message", "signature")}
        arrays["pcrs"] = [list(bytes.fromhex(one)) for one in quote["pcrs"]]
        if td_quote is None:
            pem = base64.encodebytes(certificate).decode()
            vcek = f"-----BEGIN CERTIFICATE-----\n{pem}-----END CERTIFICATE-----\n"
            return {"quote": arrays, "report": list(bytes.fromhex(hcl)), "vcek": vcek}
        return {
            "tpm_quote": arrays,
            "hcl_report": list(bytes.fromhex(hcl)),
            "td_quote": list(bytes.fromhex(td_quote)),
        }
    found = {"version": version, "tpm_quote": quote, "hcl_report": urlsafe(bytes.fromhex(hcl))}
    last = {"vcek": certificate} if td_quote is None else {"td_quote": bytes.fromhex(td_quote)}
    return {**found, **{name: urlsafe(value) for name, value in last.items()}}


def urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def nvidia(*devices: tuple[bytes, bytes], hexadecimal: bool = False) -> dict[str, Any]:
    """Return evidence of devices, each with its chain in PEM, as their attester wraps it now, or did."""
    listed = [
        {
            "arch": "Hopper" if hexadecimal else "HOPPER",
            "uuid": "unknown",
            "evidence": evidence.hex() if hexadecimal else base64.b64encode(evidence).decode(),
            "certificate": base64.b64encode(chain).decode(),
        }
        for evidence, chain in devices
    ]
    return {"device_evidence_list": listed}


def respelled(header: Mapping[str, Any]) -> str:
    """Return a header as kbs-types spells it: alg and enc, then all else with sorted names, also inside."""
    rest = {name: header[name] for name in sorted(header) if name not in {"alg", "enc"}}
    ordered = {"alg": header["alg"], "enc": header["enc"], **json.loads(json.dumps(rest, sort_keys=True))}
    return base64.urlsafe_b64encode(json.dumps(ordered, separators=(",", ":")).encode()).rstrip(b"=").decode()


def taken_apart(raw: bytes, *, flat: bool = False) -> dict[str, Any]:
    """Return a report of SEV-SNP as a guest's library serializes it, before release 5 if `flat`."""

    def number(offset: int, size: int) -> int:
        return int.from_bytes(raw[offset : offset + size], "little")

    def octets(offset: int, size: int) -> list[int]:
        return list(raw[offset : offset + size])

    version, turin = number(0, 4), raw[0x188] == 0x1A

    def tcb(offset: int) -> dict[str, int | None]:
        if turin:
            names, at = ("fmc", "bootloader", "tee", "snp", "microcode"), (0, 1, 2, 3, 7)
        else:
            names, at = ("bootloader", "tee", "snp", "microcode"), (0, 1, 6, 7)
        found: dict[str, int | None] = {
            name: raw[offset + place] for name, place in zip(names, at, strict=True)
        }
        return found if turin or flat else {"fmc": None, **found}

    def firmware(name: str, offset: int) -> dict[str, Any]:
        parts = {"build": raw[offset], "minor": raw[offset + 1], "major": raw[offset + 2]}
        return {f"{name}_{part}": value for part, value in parts.items()} if flat else {name: parts}

    later = {} if flat else {
        "cpuid_fam_id": raw[0x188] if version >= 3 else None,
        "cpuid_mod_id": raw[0x189] if version >= 3 else None,
        "cpuid_step": raw[0x18A] if version >= 3 else None,
        "launch_mit_vector": number(0x1F8, 8) if version >= 5 else None,
        "current_mit_vector": number(0x200, 8) if version >= 5 else None,
    }  # fmt: skip
    return {
        "version": version,
        "guest_svn": number(4, 4),
        "policy": number(8, 8),
        "family_id": octets(0x10, 16),
        "image_id": octets(0x20, 16),
        "vmpl": number(0x30, 4),
        "sig_algo": number(0x34, 4),
        "current_tcb": tcb(0x38),
        "plat_info": number(0x40, 8),
        "_author_key_en" if flat else "key_info": number(0x48, 4),
        "report_data": octets(0x50, 64),
        "measurement": octets(0x90, 48),
        "host_data": octets(0xC0, 32),
        "id_key_digest": octets(0xE0, 48),
        "author_key_digest": octets(0x110, 48),
        "report_id": octets(0x140, 32),
        "report_id_ma": octets(0x160, 32),
        "reported_tcb": tcb(0x180),
        "chip_id": octets(0x1A0, 64),
        "committed_tcb": tcb(0x1E0),
        **firmware("current", 0x1E8),
        **firmware("committed", 0x1EC),
        "launch_tcb": tcb(0x1F0),
        "signature": {"r": octets(0x2A0, 72), "s": octets(0x2E8, 72)},
        **later,
    }
