"""
Which lines of processors exist, and how do their reports and certificates differ?

A line is what one root key (ARK) stands for: Siena and Bergamo belong to Genoa, Turin Dense to Turin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# One name per byte of TCB_VERSION, lowest address first.  A name that starts with "spl" is a reserved
# component: it has no meaning yet, but the certificate carries its value all the same.
# AMD publication 56860, revision 1.58, section 2.2, "TCB Version", the two structures of TCB_VERSION.
TcbLayout = tuple[str, str, str, str, str, str, str, str]
FAMILY_19H: TcbLayout = ("bootloader", "tee", "spl4", "spl5", "spl6", "spl7", "snp", "microcode")
FAMILY_1AH: TcbLayout = ("fmc", "bootloader", "tee", "snp", "spl5", "spl6", "spl7", "microcode")


@dataclass(frozen=True, slots=True)
class Product:
    """
    A line of processors.

    Attributes:
        name: As in the common names of its certificates: `ARK-<name>`, `SEV-<name>`, `SEV-VLEK-<name>`.
        tcb_layout: The component in each byte of a TCB_VERSION.
        hwid_size: Bytes of the HWID in a VCEK; the rest of the 64-byte CHIP_ID is zero.
        struct_version: Version of the certificate extensions: 1 brought the FMC component.
        cpuid: Family and models, as a report of version 3 or later names them.
        product_names: What the certificate extension productName may start with, up to a "-" and stepping.
    """

    name: str
    tcb_layout: TcbLayout
    hwid_size: int
    struct_version: int
    cpuid: tuple[tuple[int, range], ...]
    product_names: frozenset[str]

    @property
    def tcb_components(self) -> tuple[str, ...]:
        """The components that have a meaning, in the order of the layout."""
        return tuple(name for name in self.tcb_layout if not name.startswith("spl"))

    def tcb(self, raw: bytes) -> dict[str, int]:
        """Return the meaningful components of the 8 bytes of a TCB_VERSION."""
        components = dict(zip(self.tcb_layout, raw, strict=True))
        return {name: components[name] for name in self.tcb_components}

    def has_cpuid(self, family: int, model: int) -> bool:
        """Whether a processor of this CPUID family and model (both combined with their extensions) is one."""
        return any(family == known and model in models for known, models in self.cpuid)


MILAN = Product("Milan", FAMILY_19H, 64, 0, ((0x19, range(0x10)),), frozenset({"Milan"}))
GENOA = Product(
    "Genoa",
    FAMILY_19H,
    64,
    0,
    ((0x19, range(0x10, 0x20)), (0x19, range(0xA0, 0xB0))),
    frozenset({"Genoa", "Bergamo", "Siena"}),
)
TURIN = Product("Turin", FAMILY_1AH, 8, 1, ((0x1A, range(0x20)),), frozenset({"Turin"}))
PRODUCTS = (MILAN, GENOA, TURIN)


def with_cpuid(products: Iterable[Product], family: int, model: int) -> Product | None:
    """Return the product that has this CPUID family and model, or None when none of them has."""
    return next((product for product in products if product.has_cpuid(family, model)), None)
