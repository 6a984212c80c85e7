"""
What does a VCEK or VLEK certificate say beyond X.509?

AMD's extensions name the product, the firmware versions that the key was derived for, and the chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation import der
from attestation.certificate import Certificate
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.snp.products import Product
from attestation.snp.report import SigningKey

SOURCE = 'AMD 57230, "VCEK Certificate and KDS Interface Specification", custom extensions'
COMMON_NAMES = {"SEV-VCEK": SigningKey.VCEK, "SEV-VLEK": SigningKey.VLEK}

_PREFIX = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION = _PREFIX + "1"
_PRODUCT_NAME = _PREFIX + "2"
_HWID = _PREFIX + "4"
_CSP_ID = _PREFIX + "5"
_SPL = {
    "bootloader": _PREFIX + "3.1",
    "tee": _PREFIX + "3.2",
    "snp": _PREFIX + "3.3",
    "spl4": _PREFIX + "3.4",
    "spl5": _PREFIX + "3.5",
    "spl6": _PREFIX + "3.6",
    "spl7": _PREFIX + "3.7",
    "microcode": _PREFIX + "3.8",
    "fmc": _PREFIX + "3.9",
}


@dataclass(frozen=True, slots=True)
class SigningKeyExtensions:
    """
    AMD's extensions of a VCEK or VLEK certificate.

    Attributes:
        struct_version: Version of these extensions.
        product_name: For example "Milan-B0", "Genoa".
        tcb: The TCB_VERSION that the key was derived for, 8 bytes, in the layout of the product.
        hwid: The chip, 64 or 8 bytes; None in a VLEK, which belongs to a cloud and not to a chip.
        csp_id: The cloud, in a VLEK that names it, else None.
    """

    struct_version: int
    product_name: str
    tcb: bytes
    hwid: bytes | None
    csp_id: str | None


def read_extensions(certificate: Certificate, product: Product) -> SigningKeyExtensions:
    """
    Return AMD's extensions of a signing key, read as those of `product`.

    Raises:
        EvidenceFormatError: one is missing or has another encoding than the specified.

    Not checked:
        That they agree with any report; that the certificate is genuine.

    Source:
        AMD publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface
        Specification", custom extensions of the VCEK and VLEK certificates.
    """
    extensions = certificate.extensions
    name = certificate.common_name
    is_vcek = COMMON_NAMES.get(name) is SigningKey.VCEK
    foreign, foreign_name = (_CSP_ID, "CSP_ID") if is_vcek else (_HWID, "HWID")
    if foreign in extensions:
        raise EvidenceFormatError(name, foreign_name, "one", "none in a certificate of this kind", SOURCE)
    return SigningKeyExtensions(
        struct_version=_integer(extensions, _STRUCT_VERSION, name, "structVersion"),
        product_name=_text(extensions, _PRODUCT_NAME, name, "productName"),
        tcb=bytes(_component(extensions, name, component) for component in product.tcb_layout),
        hwid=_hwid(extensions, name, product.hwid_size) if is_vcek else None,
        csp_id=_text(extensions, _CSP_ID, name, "CSP_ID") if _CSP_ID in extensions else None,
    )


def check_product(where: str, extensions: SigningKeyExtensions, product: Product) -> None:
    """
    Check that a signing key says that it is of the product that its chain stands for.

    Raises:
        NotAuthenticError: it names another, or has the extensions of another.
    """
    if extensions.product_name.split("-")[0] not in product.product_names:
        raise NotAuthenticError(f"{where}.productName", extensions.product_name, product.name, SOURCE)
    if extensions.struct_version != product.struct_version:
        version, wanted = str(extensions.struct_version), f"{product.struct_version} for {product.name}"
        raise NotAuthenticError(f"{where}.structVersion", version, wanted, SOURCE)


def _component(extensions: Mapping[str, bytes], where: str, component: str) -> int:
    oid = _SPL[component]
    if component.startswith("spl") and oid not in extensions:
        return 0  # a reserved component may be left out; the report's byte for it is then zero
    return _integer(extensions, oid, where, f"{component} SPL")


def _hwid(extensions: Mapping[str, bytes], where: str, size: int) -> bytes:
    """Return the HWID: KDS writes the bare bytes, some certificates wrap them into an OCTET STRING."""
    raw = _required(extensions, _HWID, where, "HWID")
    hwid = raw if len(raw) == size else der.octet_string(raw)
    if hwid is None or len(hwid) != size:
        raise EvidenceFormatError(where, "HWID", f"{len(raw)} bytes", f"{size} bytes", SOURCE)
    return hwid


def _integer(extensions: Mapping[str, bytes], oid: str, where: str, name: str) -> int:
    raw = _required(extensions, oid, where, name)
    value = der.small_integer(raw)
    if value is None:
        raise EvidenceFormatError(where, name, raw.hex(), "a DER INTEGER of 0 to 255", SOURCE)
    return value


def _text(extensions: Mapping[str, bytes], oid: str, where: str, name: str) -> str:
    raw = _required(extensions, oid, where, name)
    value = der.ia5_string(raw)
    if value is None:
        raise EvidenceFormatError(where, name, raw.hex(), "a DER IA5String", SOURCE)
    return value


def _required(extensions: Mapping[str, bytes], oid: str, where: str, name: str) -> bytes:
    if oid not in extensions:
        raise EvidenceFormatError(where, name, f"no extension {oid}", "one", SOURCE)
    return extensions[oid]
