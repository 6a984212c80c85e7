"""
What does AMD's key distribution service (KDS) serve, under which names, and which answer is right?

Names and checks only: nothing here asks anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from attestation import endorsements, path_building, revocation
from attestation.cache import Cache
from attestation.certificate import Certificate, read_certificate, read_revocation_list
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, MissingEndorsementError, NotAuthenticError
from attestation.snp import chain
from attestation.snp.endorsements import COMMON_NAMES, check_product, read_extensions
from attestation.snp.products import PRODUCTS, Product
from attestation.snp.report import SigningKey
from attestation.snp.roots import AMD, Roots
from attestation.wanted import (
    LARGEST_CERTIFICATES,
    LARGEST_LIST,
    Answer,
    Checked,
    check_period,
    latest,
    sole,
)

SOURCE = 'AMD 57230, "VCEK Certificate and KDS Interface Specification", chapter 4, "KDS Interface"'
SERVICE = "https://kdsintf.amd.com"

# The query's name of each component of a TCB, in the order in which AMD's own tools write them.
SPL = {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
_KEYS = {SigningKey.VCEK: "vcek", SigningKey.VLEK: "vlek"}
_URL = re.compile(re.escape(SERVICE) + r"/(vcek|vlek)/v1/(\w+)/(cert_chain|crl|([0-9a-f]+)\?([\w=&]+))")


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """The ASK or ASVK of a product and its ARK."""

    product: Product
    kind: SigningKey = SigningKey.VCEK
    roots: Roots = field(default=AMD, compare=False, repr=False)

    limit = LARGEST_CERTIFICATES
    lasting = True
    issuer_headers = ()
    issuers = None

    @property
    def url(self) -> str:
        """Where AMD serves it."""
        return f"{SERVICE}/{_KEYS[self.kind]}/v1/{self.product.name}/cert_chain"

    @property
    def title(self) -> str:
        """What it is."""
        return f"chain of {self.product.name} for {self.kind.name}s"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the two certificates; see `Wanted.check`."""
        found = endorsements.parse(answer.body, self.title)
        certificates = _authority(found, self.product, self.kind, self.roots, at)
        for one in certificates:
            check_period(one.not_before, one.not_after, at, one.common_name)
        return Checked(found, latest(certificates))


@dataclass(frozen=True, slots=True)
class Vcek:
    """
    The certificate of the key that a chip signs with under a certain TCB.

    Attributes:
        hwid: The chip, 64 bytes, or 8 on Turin.
        tcb: The TCB_VERSION, 8 bytes, in the layout of the product.
    """

    product: Product
    hwid: bytes
    tcb: bytes
    roots: Roots = field(default=AMD, compare=False, repr=False)

    limit = LARGEST_CERTIFICATES
    lasting = True
    issuer_headers = ()

    @property
    def issuers(self) -> CertificateChain:
        """The chain above it."""
        return CertificateChain(self.product, SigningKey.VCEK, self.roots)

    @property
    def url(self) -> str:
        """Where AMD serves it."""
        levels = self.product.tcb(self.tcb)
        query = "&".join(f"{spl}={levels[name]:02}" for name, spl in SPL.items() if name in levels)
        return f"{SERVICE}/vcek/v1/{self.product.name}/{self.hwid.hex()}?{query}"

    @property
    def title(self) -> str:
        """What it is."""
        levels = ", ".join(f"{name} {level}" for name, level in self.product.tcb(self.tcb).items())
        return f"VCEK of {self.product.name} chip {self.hwid[:8].hex()} at {levels}"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the certificate with the chain above it; see `Wanted.check`."""
        found = endorsements.parse(answer.body, self.title)
        above = endorsements.parse(answer.issuers, "chain of the VCEK")
        leaf = read_certificate(sole(found.certificates, self.title, "one certificate"), "VCEK")
        if COMMON_NAMES.get(leaf.common_name) is not SigningKey.VCEK:
            raise NotAuthenticError("certificate name", repr(leaf.common_name), "SEV-VCEK", SOURCE)
        certificates = [leaf, *map(read_certificate, above.certificates)]
        proven = chain.build([leaf], certificates, self.roots, Cache(), at)
        self._check_identity(leaf, proven.product)
        for one in proven.certificates:
            check_period(one.not_before, one.not_after, at, one.common_name)
        return Checked(found | above, leaf.not_before)

    def _check_identity(self, leaf: Certificate, product: Product) -> None:
        """Check that it is of the product, the chip and the TCB that were asked for."""
        where = leaf.common_name
        if product != self.product:
            found = f"a certificate of {product.name}"
            raise NotAuthenticError(f"{where}.product", found, self.product.name, SOURCE)
        extensions = read_extensions(leaf, product)
        check_product(where, extensions, product)
        if extensions.hwid != self.hwid:
            found = (extensions.hwid or b"").hex()
            raise NotAuthenticError(f"{where}.HWID", found, f"{self.hwid.hex()}, as asked", SOURCE)
        asked = product.tcb(self.tcb)
        for name, level in product.tcb(extensions.tcb).items():
            if level != asked[name]:
                raise NotAuthenticError(
                    f"{where}.{SPL[name]}", f"{level}", f"{asked[name]}, as asked", SOURCE
                )


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The list of what the ARK of a product took back; there is one for VCEKs and one for VLEKs."""

    product: Product
    kind: SigningKey = SigningKey.VCEK
    roots: Roots = field(default=AMD, compare=False, repr=False)

    limit = LARGEST_LIST
    lasting = False
    issuer_headers = ()

    @property
    def issuers(self) -> CertificateChain:
        """The chain whose ARK signs it."""
        return CertificateChain(self.product, self.kind, self.roots)

    @property
    def url(self) -> str:
        """Where AMD serves it."""
        return f"{SERVICE}/{_KEYS[self.kind]}/v1/{self.product.name}/crl"

    @property
    def title(self) -> str:
        """What it is."""
        return f"revocation list of {self.product.name} for {self.kind.name}s"

    def check(self, answer: Answer, at: datetime) -> Checked:
        """Return the list with the chain of its issuer; see `Wanted.check`."""
        found = endorsements.parse(answer.body, self.title)
        above = endorsements.parse(answer.issuers, "chain of the list")
        one = read_revocation_list(sole(found.revocation_lists, self.title, "one list"))
        _, root = _authority(above, self.product, self.kind, self.roots, at)
        if one.issuer != root.subject:
            name, want = one.issuer.rfc4514_string(), root.subject.rfc4514_string()
            raise NotAuthenticError("revocation list.issuer", name, want, SOURCE)
        revocation.check_authority(root)
        Cache().check_rsa_pss_sha384(one.signed, root, f"revocation list of {root.common_name}")
        revocation.check_readable(one)
        check_period(one.this_update, one.next_update, at, self.title)
        return Checked(found | above, one.this_update)


def _authority(
    found: Endorsements, product: Product, kind: SigningKey, roots: Roots, at: datetime
) -> tuple[Certificate, Certificate]:
    """Return what signs keys of a kind, and the pinned root of the product above it."""
    certificates = path_building.unique(map(read_certificate, found.certificates))
    name = chain.intermediate_name(kind, product)
    named = [one for one in certificates if one.common_name == name]
    if len(certificates) != 2 or len(named) != 1:
        names = ", ".join(one.common_name for one in certificates) or "no certificate"
        raise MissingEndorsementError("certificate chain", names, f"{name} and ARK-{product.name}", SOURCE)
    return named[0], chain.vouch(named[0], kind, certificates, roots, at)


def named(url: str) -> CertificateChain | Vcek | RevocationList | None:
    """Return what a URL of the service names, None where it is no such URL as is made here."""
    match = _URL.fullmatch(url)
    product = next((one for one in PRODUCTS if match is not None and one.name == match[2]), None)
    if match is None or product is None:
        return None
    kind = next(kind for kind, name in _KEYS.items() if name == match[1])
    if match[3] == "cert_chain":
        return CertificateChain(product, kind)
    if match[3] == "crl":
        return RevocationList(product, kind)
    levels = dict(re.findall(r"(\w+)=(\d{2,3})(?:&|$)", match[5]))
    layout = [int(levels.get(SPL.get(name, ""), 0)) for name in product.tcb_layout]
    if len(match[4]) != 2 * product.hwid_size or max(layout) > 255:
        return None
    wanted = Vcek(product, bytes.fromhex(match[4]), bytes(layout))
    return wanted if wanted.url == url else None


def tcb_of(product: Product, levels: dict[str, int]) -> bytes:
    """
    Return a TCB_VERSION of these components; names as in `Product.tcb_components` or as in a query.

    Raises:
        EvidenceFormatError: a component is missing, unknown or larger than a byte.
    """
    given = {
        next((name for name, spl in SPL.items() if spl == key), key): value for key, value in levels.items()
    }
    if set(given) != set(product.tcb_components) or max(given.values()) > 255:
        found = ", ".join(f"{name} {value}" for name, value in levels.items()) or "nothing"
        want = f"{', '.join(product.tcb_components)}, each of 0 to 255"
        raise EvidenceFormatError("TCB", product.name, found, want, SOURCE)
    return bytes(given.get(name, 0) for name in product.tcb_layout)
