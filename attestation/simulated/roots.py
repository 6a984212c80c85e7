"""Which root key stands for the simulation?  Never one that stands for hardware."""

from __future__ import annotations

from attestation.simulated.product import SIMULATED_PRODUCT
from attestation.snp.roots import Roots

# SHA-256 of the SubjectPublicKeyInfo of the last certificate in attestation/simulated/chain.py.
SIMULATED = Roots(
    "the simulation",
    {"7dba82c9122fb5c5132111c736bcb5bfaffc5ab6891d03be8da517eaec71527a": SIMULATED_PRODUCT},
)
