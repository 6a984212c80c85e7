"""Which root key is trusted?  Pinned is the key, not the certificate."""

from __future__ import annotations

from attestation.path import Roots

# SHA-256 of the SubjectPublicKeyInfo of "aws.nitro-enclaves".
# https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip
AWS = Roots("AWS", frozenset({"f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225"}))
