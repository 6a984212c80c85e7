"""Manifests of a fake NVIDIA: the form of the genuine ones, signed by real keys; each part can be replaced."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lxml import etree
from signxml import CanonicalizationMethod, XMLSigner

from tests.fakes import aws
from tests.fakes.aws import MADE, certificate
from tests.fakes.nvidia import MEASUREMENTS

SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
NAMES = ("signer", "manifests' issuer", "manifests' root")


def chain(
    *, start: datetime = MADE, signed_by: str | None = None, path_length: int | None = None
) -> tuple[bytes, ...]:
    end = start + timedelta(days=1)
    return (
        certificate("signer", NAMES[1], authority=False, start=start, end=end, signer=signed_by),
        certificate(NAMES[1], NAMES[2]),
        certificate(NAMES[2], NAMES[2], path_length=path_length),
    )


CHAIN = chain()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One manifest; `golden` counts from 0, as manifests do."""

    version: str = "590.12"
    golden: Mapping[int, tuple[bytes, ...]] = field(
        default_factory=lambda: {index: (bytes(48), MEASUREMENTS[index + 1]) for index in range(20, 64)}
    )
    inactive: Mapping[int, tuple[bytes, ...]] = field(default_factory=lambda: {3: (bytes(48),)})
    chain: tuple[bytes, ...] = CHAIN
    signer: str = "signer"
    method: str = "ecdsa-sha384"
    digest: str = "sha384"
    root: str = "SoftwareIdentity"
    reference: str | None = None
    change: tuple[str, str] = ("", "")
    damage: tuple[bytes, bytes] = (b"", b"")

    def document(self) -> bytes:
        rows = "".join(
            f'<n:Resource type="Measurement" index="{index}" active="{active}" alternatives="{len(values)}" '
            + " ".join(f'h:Hash{number}="{value.hex()}"' for number, value in enumerate(values))
            + f' name="Measurement_{index}" size="48"/>\n'
            for active, part in (("True", self.golden), ("False", self.inactive))
            for index, values in part.items()
        )
        text = (
            f'<{self.root} xmlns="{SWID}" xmlns:n="{SWID}" xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384" '
            f'name="GH100" Id="all">\n<n:Meta colloquialVersion="{self.version}" product="GH100"/>\n'
            f'<n:Payload Id="part">\n{rows}</n:Payload></{self.root}>'
        )
        signer = XMLSigner(
            signature_algorithm=self.method,
            digest_algorithm=self.digest,
            c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_1,
        )
        root = etree.fromstring(text.replace(*self.change).encode())
        certificates = [_pem(one) for one in self.chain]
        signed = signer.sign(root, key=aws.key(self.signer), cert=certificates, reference_uri=self.reference)
        return etree.tostring(signed).replace(*self.damage)


def _pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


DRIVER = Manifest()
VBIOS = Manifest(
    version="96.00.a5.00.01", golden={index: (MEASUREMENTS[index + 1],) for index in range(20) if index != 3}
)
