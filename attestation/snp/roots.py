"""
Which root keys are trusted, and for which line of processors?

Pinned is the key, not the certificate: a root that is issued again with the same key stays the same root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.snp.products import GENOA, MILAN, TURIN, Product


@dataclass(frozen=True, slots=True)
class Roots:
    """
    Root keys that may stand at the top of a chain, and nothing else may.

    Attributes:
        name: Whose they are, for messages.
        products: The line of processors that each key stands for, by the SHA-256 of its
            SubjectPublicKeyInfo, hexadecimal.
    """

    name: str
    products: Mapping[str, Product]

    @property
    def keys(self) -> frozenset[str]:
        """The SHA-256 of the SubjectPublicKeyInfo of each, hexadecimal."""
        return frozenset(self.products)


# SHA-256 of the SubjectPublicKeyInfo of ARK-Milan, ARK-Genoa and ARK-Turin.
# https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain, second certificate.
AMD = Roots(
    "AMD",
    {
        "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9": MILAN,
        "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831": GENOA,
        "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08": TURIN,
    },
)
