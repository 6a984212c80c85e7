"""Which root key is trusted?  Pinned is the key, not the certificate."""

from __future__ import annotations

from attestation.path import Roots

# SHA-256 of the SubjectPublicKeyInfo of "NVIDIA Device Identity CA", the root in every device's chain.
NVIDIA = Roots("NVIDIA", frozenset({"a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"}))
