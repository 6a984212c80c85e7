"""
Which root keys are trusted, and whose quoting enclaves?

Pinned is the key, not the certificate: a root that is issued again with the same key stays the same root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.path import Roots


@dataclass(frozen=True, slots=True)
class IntelRoots(Roots):
    """
    Root keys, and the quoting enclaves that may make attestation keys.

    A platform's key certifies any enclave that may ask for it, so that its signature alone does not tell a
    quoting enclave from one of somebody else.

    Attributes:
        quoting: MRSIGNER and ISVPRODID of the quoting enclave for "SGX" and for "TDX", where no collateral
            says which it is.
    """

    quoting: Mapping[str, tuple[bytes, int]]


# SHA-256 of the SubjectPublicKeyInfo of "Intel SGX Root CA".
# https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer
# The enclaves: the service's "Get Quoting Enclave Identity" for SGX and TDX.
INTEL = IntelRoots(
    "Intel",
    frozenset({"a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"}),
    {
        "SGX": (bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"), 1),
        "TDX": (bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"), 2),
    },
)
