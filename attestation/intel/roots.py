"""
Which root keys are trusted?

Pinned is the key, not the certificate: a root that is issued again with the same key stays the same root.
"""

from __future__ import annotations

from attestation.path import Roots

# SHA-256 of the SubjectPublicKeyInfo of "Intel SGX Root CA".
# https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer
INTEL = Roots("Intel", frozenset({"a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"}))
