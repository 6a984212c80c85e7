"""
A whole AMD of our own: root, intermediates, signing keys, revocation lists and a chip that signs reports.

Every key is real and every structure has the encoding of the genuine one, so that the code under test runs
unchanged; each maker takes overrides, so that a test case can break exactly one thing.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from attestation.endorsements import Endorsements
from attestation.snp.products import FAMILY_1AH, MILAN, Product
from attestation.snp.report import FIELDS, SIGNED_SIZE, SIZE
from attestation.snp.roots import Roots

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
END = datetime(2030, 1, 1, tzinfo=UTC)
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
AMD_OID = "1.3.6.1.4.1.3704.1."
OIDS = {
    "structVersion": AMD_OID + "1",
    "productName": AMD_OID + "2",
    "bootloader": AMD_OID + "3.1",
    "tee": AMD_OID + "3.2",
    "snp": AMD_OID + "3.3",
    "spl4": AMD_OID + "3.4",
    "spl5": AMD_OID + "3.5",
    "spl6": AMD_OID + "3.6",
    "spl7": AMD_OID + "3.7",
    "microcode": AMD_OID + "3.8",
    "fmc": AMD_OID + "3.9",
    "HWID": AMD_OID + "4",
    "CSP_ID": AMD_OID + "5",
}
CPUID = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:  # noqa: ARG001  # the name only tells keys apart
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def ec_key(name: str, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest(), "big"), curve())


def name(common_name: str, organization: str = "Not Advanced Micro Devices") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def der_integer(value: int) -> bytes:
    return bytes([2, 1, value]) if value < 0x80 else bytes([2, 2, 0, value])


def der_text(text: str) -> bytes:
    return bytes([0x16, len(text)]) + text.encode()


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What one certificate says; `replace` it to make a broken one."""

    subject: str
    issuer: str
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    issuer_key: rsa.RSAPrivateKey
    serial: int = 1
    start: datetime = START
    end: datetime = END
    is_authority: bool = False
    path_length: int | None = None
    signs_certificates: bool = True
    signs_revocations: bool = True
    key_usage: bool = True
    extensions: Mapping[str, bytes] = field(default_factory=dict)
    critical: frozenset[str] = frozenset()
    organization: str = "Not Advanced Micro Devices"
    padding: padding.AsymmetricPadding = field(default_factory=lambda: PSS)
    hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA384)

    def der(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject, self.organization))
            .issuer_name(name(self.issuer, self.organization))
            .public_key(self.key.public_key())
            .serial_number(self.serial or 1)
            .not_valid_before(self.start)
            .not_valid_after(self.end)
        )
        if self.is_authority:
            builder = builder.add_extension(
                x509.BasicConstraints(ca=True, path_length=self.path_length), critical=True
            )
        if self.is_authority and self.key_usage:
            builder = builder.add_extension(
                x509.KeyUsage(
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=self.signs_certificates,
                    crl_sign=self.signs_revocations,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        for oid, value in self.extensions.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=oid in self.critical)
        certificate = builder.sign(self.issuer_key, self.hash, rsa_padding=self.padding)
        if self.serial:
            return certificate.public_bytes(serialization.Encoding.DER)
        tbs = certificate.tbs_certificate_bytes.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1)
        return sign_der(tbs, self.issuer_key)


@dataclass(frozen=True, kw_only=True)
class Amd:
    """One product line with all its keys."""

    product: Product = MILAN
    label: str = "fake"

    @property
    def ark_name(self) -> str:
        return f"ARK-{self.product.name}"

    @property
    def ark(self) -> Maker:
        key = rsa_key(f"{self.label} {self.ark_name}")
        return Maker(
            subject=self.ark_name,
            issuer=self.ark_name,
            key=key,
            issuer_key=key,
            serial=0x10,
            is_authority=True,
        )

    @property
    def ask(self) -> Maker:
        key = rsa_key(f"{self.label} ASK {self.product.name}")
        return replace(
            self.ark, subject=f"SEV-{self.product.name}", key=key, serial=0x11, signs_revocations=False
        )

    @property
    def asvk(self) -> Maker:
        key = rsa_key(f"{self.label} ASVK {self.product.name}")
        return replace(self.ask, subject=f"SEV-VLEK-{self.product.name}", key=key, serial=0x12)

    @property
    def roots(self) -> Roots:
        return Roots(f"fake {self.product.name}", {key_sha256(self.ark.key): self.product})

    def leaf(self, chip: Chip) -> Maker:
        """The certificate of the key with which `chip` signs."""
        above = self.asvk if chip.is_vlek else self.ask
        owner = {"CSP_ID": der_text("CN=cloud")} if chip.is_vlek else {"HWID": chip.hwid}
        svns = dict(zip(self.product.tcb_layout, chip.tcb, strict=True))
        values = {
            "structVersion": der_integer(self.product.struct_version),
            "productName": der_text(self.product.name if chip.is_vlek else f"{self.product.name}-B0"),
            **{component: der_integer(svn) for component, svn in svns.items()},
            **owner,
        }
        return Maker(
            subject="SEV-VLEK" if chip.is_vlek else "SEV-VCEK",
            issuer=above.subject,
            key=chip.key,
            issuer_key=_rsa(above.key),
            serial=1 if chip.is_vlek else 0,  # as AMD numbers them
            extensions={OIDS[item]: value for item, value in values.items()},
        )

    def chain(self, chip: Chip) -> tuple[bytes, bytes, bytes]:
        """Leaf, intermediate and root, DER."""
        return self.leaf(chip).der(), (self.asvk if chip.is_vlek else self.ask).der(), self.ark.der()

    def endorsements(self, chip: Chip, *, lists: Iterable[bytes] = ()) -> Endorsements:
        return Endorsements(self.chain(chip), tuple(lists))

    def crl(
        self,
        serials: Iterable[int] = (),
        *,
        issuer: str = "",
        key: rsa.RSAPrivateKey | None = None,
        start: datetime = datetime(2025, 5, 1, tzinfo=UTC),
        end: datetime = datetime(2025, 7, 1, tzinfo=UTC),
        critical: Mapping[str, bytes] | None = None,
        entry_issuer: str = "",
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name(issuer or self.ark_name))
            .last_update(start)
            .next_update(end)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
            if entry_issuer:
                names = [x509.DirectoryName(name(entry_issuer))]
                entry = entry.add_extension(x509.CertificateIssuer(names), critical=True)
            builder = builder.add_revoked_certificate(entry.build())
        for oid, value in (critical or {}).items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=True)
        signer = key or _rsa(self.ark.key)
        crl = builder.sign(signer, hashes.SHA384(), rsa_padding=PSS)
        return crl.public_bytes(serialization.Encoding.DER)

    def crl_with_serial_zero(self) -> bytes:
        """A list that names the serial number which every VCEK has."""
        tbs = x509.load_der_x509_crl(self.crl([0x5A])).tbs_certlist_bytes
        return sign_der(tbs.replace(b"\x02\x01\x5a", b"\x02\x01\x00", 1), _rsa(self.ark.key))


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A processor of one product that signs reports."""

    product: Product = MILAN
    tcb: bytes = bytes([4, 0, 0, 0, 0, 0, 24, 219])
    is_vlek: bool = False
    label: str = "chip"

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        return ec_key(f"{self.label} {self.product.name} {self.is_vlek}")

    @property
    def hwid(self) -> bytes:
        return hashlib.sha512(self.label.encode()).digest()[: self.product.hwid_size]

    def fields(self, version: int) -> dict[str, int | bytes]:
        """What a report of this chip says if nothing is overridden."""
        family, model, stepping = CPUID[self.product.name] if version > 2 else (0, 0, 0)
        return {
            "VERSION": version,
            "POLICY": 0x30000,
            "SIGNATURE_ALGO": 1,
            "CURRENT_TCB": self.tcb,
            "PLATFORM_INFO": 0x25,
            "KEY_INFO": 4 if self.is_vlek else 0,
            "REPORT_DATA": bytes(range(64)),
            "MEASUREMENT": bytes(range(48)),
            "REPORT_ID": bytes(range(32)),
            "REPORT_ID_MA": b"\xff" * 32,
            "REPORTED_TCB": self.tcb,
            "CPUID_FAM_ID": family,
            "CPUID_MOD_ID": model,
            "CPUID_STEP": stepping,
            "CHIP_ID": bytes(64) if self.is_vlek else self.hwid.ljust(64, b"\0"),
            "COMMITTED_TCB": self.tcb,
            "CURRENT_BUILD": 29,
            "CURRENT_MINOR": 55,
            "CURRENT_MAJOR": 1,
            "COMMITTED_BUILD": 29,
            "COMMITTED_MINOR": 55,
            "COMMITTED_MAJOR": 1,
            "LAUNCH_TCB": self.tcb,
            "LAUNCH_MIT_VECTOR": 3 if version >= 5 else 0,
            "CURRENT_MIT_VECTOR": 7 if version >= 5 else 0,
        }

    def report(
        self, version: int = 3, *, damage: Mapping[int, int] | None = None, **fields: int | bytes
    ) -> bytes:
        """
        Return a report, signed after `fields` were overridden and the bytes at `damage` were set.

        A field that is no field of the layout is a mistake of the test.
        """
        raw = bytearray(SIZE)
        for field_name, value in (self.fields(version) | fields).items():
            offset, size = FIELDS[field_name]
            data = value.to_bytes(size, "little") if isinstance(value, int) else value
            raw[offset : offset + size] = data
        for offset, value in (damage or {}).items():
            raw[offset] = value
        return sign(bytes(raw), self.key)


def turin_chip() -> Chip:
    from attestation.snp.products import TURIN  # noqa: PLC0415  # kept beside its one use

    assert TURIN.tcb_layout == FAMILY_1AH
    return Chip(product=TURIN, tcb=bytes([1, 2, 3, 4, 0, 0, 0, 200]), label="turin")


def sign(raw: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return `raw` with the signature of `key` in its place; fields outside the layout stay as they are."""
    curve_hash = ec.ECDSA(hashes.SHA384())
    r, s = decode_dss_signature(key.sign(raw[:SIGNED_SIZE], curve_hash))
    signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
    return raw[:SIGNED_SIZE] + signature + raw[SIGNED_SIZE + len(signature) :]


def sign_der(tbs: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return a certificate or list around `tbs`, for contents that the X.509 library will not make."""
    algorithm = bytes.fromhex(
        "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
        "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
    )
    signature = b"\0" + key.sign(tbs, PSS, hashes.SHA384())
    return _der(0x30, tbs + algorithm + _der(0x03, signature))


def key_sha256(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    encoded = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(encoded).hexdigest()


def _der(tag: int, contents: bytes) -> bytes:
    return bytes([tag, 0x82]) + len(contents).to_bytes(2, "big") + contents


def _rsa(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> rsa.RSAPrivateKey:
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
