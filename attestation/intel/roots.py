"""
Which root keys are trusted?

Pinned is the key, not the certificate: a root that is issued again with the same key stays the same root.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roots:
    """
    Root keys that may stand at the top of a chain, and nothing else may.

    Attributes:
        name: Whose they are, for messages.
        keys: The SHA-256 of the SubjectPublicKeyInfo of each, hexadecimal.
    """

    name: str
    keys: frozenset[str]


# SHA-256 of the SubjectPublicKeyInfo of "Intel SGX Root CA".
# https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer
INTEL = Roots("Intel", frozenset({"a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"}))
