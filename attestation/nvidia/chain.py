"""Which certificates lead from one of NVIDIA's to a root of NVIDIA?"""

from __future__ import annotations

from collections.abc import Sequence

from attestation import path
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import NotAuthenticError

_LONGEST = 8


def build(
    leaf: Certificate, certificates: Sequence[Certificate], keys: frozenset[str], cache: Cache, source: str
) -> tuple[Certificate, ...]:
    """
    Return the certificates from `leaf` to a root.

    Args:
        leaf: Where the chain begins.
        certificates: Among which its issuers are.
        keys: SHA-256 of the SubjectPublicKeyInfo of each root key, hexadecimal.
        cache: Remembers signatures.
        source: The document that says what the chain looks like.

    Raises:
        MissingEndorsementError: an issuer is missing.
        NotAuthenticError: a signature is not that of the issuer, an issuer may not issue, or the root is not
            one of `keys`.

    Not checked:
        Validity and revocation.
    """
    chain = [leaf]
    while chain[-1].subject != chain[-1].issuer:
        if len(chain) > _LONGEST:
            raise NotAuthenticError("chain", f"more than {_LONGEST} certificates", "fewer", source)
        chain.append(path.issuer(chain[-1], certificates, cache, source))
        path.check_authority(chain[-1])
    root = path.pinned(chain[-1:], keys, "NVIDIA", source)
    cache.check_ecdsa(root.signed, root, root.common_name)
    path.check_critical(leaf)
    return tuple(chain)
