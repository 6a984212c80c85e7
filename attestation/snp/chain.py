"""
Does a pinned root key vouch for the key that signed the report?

The chain has exactly three certificates: VCEK under ASK, or VLEK under ASVK, under the ARK of the product.
Names only propose who issued what; signatures decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from attestation import path, path_building
from attestation.cache import Cache
from attestation.certificate import Certificate
from attestation.errors import NotAuthenticError
from attestation.snp.endorsements import COMMON_NAMES
from attestation.snp.products import Product
from attestation.snp.report import SigningKey
from attestation.snp.roots import Roots

SOURCE = 'AMD 57230, "VCEK Certificate and KDS Interface Specification", certificate chain'
_INTERMEDIATE_NAMES = {SigningKey.VCEK: "SEV-{}", SigningKey.VLEK: "SEV-VLEK-{}"}


@dataclass(frozen=True, slots=True)
class Chain:
    """A signing key that a pinned root vouches for, and the line of processors that the root stands for."""

    product: Product
    leaf: Certificate
    intermediate: Certificate
    root: Certificate

    @property
    def certificates(self) -> tuple[Certificate, Certificate, Certificate]:
        """The chain, leaf first."""
        return self.leaf, self.intermediate, self.root


def build(
    leaves: Sequence[Certificate],
    certificates: Sequence[Certificate],
    roots: Roots,
    cache: Cache,
    now: datetime,
) -> Chain:
    """
    Return the chain from one of `leaves` to one of `roots` through `certificates`.

    Raises:
        MissingEndorsementError: the certificate of an issuer was not supplied.
        NotAuthenticError: the root is not pinned, a certificate may not sign others or has another name than
            its place in the chain demands, or a signature is not its issuer's.

    Not checked:
        Validity: `now` decides only between chains that are equally right.  Revocation, AMD's extensions.
        Organisation and place in the names: a pinned key says more.

    Source:
        RFC 5280, section 6.1, "Basic Path Validation".  AMD publication 57230, certificate chain.
    """

    def accept(chain: Sequence[Certificate]) -> None:
        path.check_pinned(chain, roots.keys, roots.name, SOURCE)
        path.check_count(chain, 3, SOURCE)
        _check_names(chain[1], COMMON_NAMES[chain[0].common_name], chain[2], roots)

    leaf, intermediate, root = path_building.chain(
        leaves, certificates, cache.check_rsa_pss_sha384, SOURCE, now=now, accept=accept
    )
    return Chain(roots.products[root.key_sha256.hex()], leaf, intermediate, root)


def vouch(
    intermediate: Certificate,
    kind: SigningKey,
    certificates: Sequence[Certificate],
    roots: Roots,
    now: datetime,
) -> Certificate:
    """
    Return the root that vouches for an ASK or ASVK.

    Args:
        intermediate: What may sign keys of `kind`.
        kind: VCEK or VLEK.
        certificates: That of the root is among them.
        roots: The only keys that may stand at the top.
        now: As for `build`.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `build`.
    """

    def accept(chain: Sequence[Certificate]) -> None:
        path.check_pinned(chain, roots.keys, roots.name, SOURCE)
        path.check_count(chain, 2, SOURCE)
        _check_names(intermediate, kind, chain[1], roots)

    check = Cache().check_rsa_pss_sha384
    found = path_building.chain([intermediate], certificates, check, SOURCE, now=now, accept=accept)
    path.check_authority(intermediate)
    return found[-1]


def intermediate_name(kind: SigningKey, product: Product) -> str:
    """Return the common name of what signs keys of a kind."""
    return _INTERMEDIATE_NAMES[kind].format(product.name)


def _check_names(intermediate: Certificate, kind: SigningKey, root: Certificate, roots: Roots) -> None:
    product = roots.products[root.key_sha256.hex()]
    for one, want in ((intermediate, intermediate_name(kind, product)), (root, f"ARK-{product.name}")):
        if one.common_name != want:
            raise NotAuthenticError("certificate name", one.common_name, want, SOURCE)
