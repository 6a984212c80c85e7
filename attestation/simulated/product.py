"""
What is the simulated machine, and with which key does it sign?

Its signing key is derived from a published label: everybody can sign with it, on purpose.  A report under it
proves that bytes went the right way through the right code, and nothing about any machine.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.snp.products import FAMILY_19H, Product

# CPUID family 0 exists in no processor, and no root key of AMD stands for a product of this name.
SIMULATED_PRODUCT = Product("Simulated", FAMILY_19H, 64, 0, ((0x00, range(1)),), frozenset({"Simulated"}))
KEY_LABEL = b"shim simulated TEE: this signing key is public and proves nothing"
HWID = b"SIMULATED".ljust(64, b".")
TCB = bytes(8)
_P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


def signing_key() -> ec.EllipticCurvePrivateKey:
    """Return the key that signs simulated reports: SHA-384 of the label, reduced to a scalar of P-384."""
    digest = int.from_bytes(hashlib.sha384(KEY_LABEL).digest(), "big")
    return ec.derive_private_key(digest % (_P384_ORDER - 1) + 1, ec.SECP384R1())
