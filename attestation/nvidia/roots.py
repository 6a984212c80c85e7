"""Which root keys are trusted?  Pinned are the keys, not the certificates."""

from __future__ import annotations

from dataclasses import dataclass

from attestation.path import Roots


@dataclass(frozen=True, slots=True)
class NvidiaRoots(Roots):
    """
    Root keys of devices, and those of manifests: neither stands for the other.

    Attributes:
        manifests: The SHA-256 of the SubjectPublicKeyInfo of each, hexadecimal.
    """

    manifests: frozenset[str]


# SHA-256 of the SubjectPublicKeyInfo of "NVIDIA Device Identity CA", the root in every device's chain, and of
# "NVIDIA CoRIM signing Root CA", the root in every manifest's: verifier_RIM_root.pem of NVIDIA/nvtrust.
NVIDIA = NvidiaRoots(
    "NVIDIA",
    frozenset({"a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"}),
    frozenset({"dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3"}),
)
