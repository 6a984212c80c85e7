"""
Does a pinned root key vouch for the key that signed the report?

The chain has exactly three certificates: VCEK under ASK, or VLEK under ASVK, under the ARK of the product.
Names only propose who issued what; signatures decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation import path
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


def build(leaf: Certificate, certificates: Sequence[Certificate], roots: Roots, cache: Cache) -> Chain:
    """
    Return the chain from `leaf` to one of `roots` through `certificates`.

    Raises:
        MissingEndorsementError: the certificate of an issuer was not supplied.
        NotAuthenticError: the root is not pinned, a certificate may not sign others or has another name than
            its place in the chain demands, or a signature is not its issuer's.

    Not checked:
        Validity, revocation, AMD's extensions.  Organisation and place in the names: a pinned key says more.

    Source:
        RFC 5280, section 6.1, "Basic Path Validation".  AMD publication 57230, certificate chain.
    """
    intermediate = path.issuer(leaf, certificates, cache.check_rsa_pss_sha384, SOURCE)
    product, root = vouch(intermediate, COMMON_NAMES[leaf.common_name], certificates, roots, cache)
    path.check_lengths((leaf, intermediate, root))
    path.check_critical(leaf)
    return Chain(product, leaf, intermediate, root)


def vouch(
    intermediate: Certificate,
    kind: SigningKey,
    certificates: Sequence[Certificate],
    roots: Roots,
    cache: Cache,
) -> tuple[Product, Certificate]:
    """
    Return the root that vouches for an ASK or ASVK, and the line of processors that it stands for.

    Args:
        intermediate: What may sign keys of `kind`.
        kind: VCEK or VLEK.
        certificates: That of the root is among them.
        roots: The only keys that may stand at the top.
        cache: Remembers signatures.

    Raises:
        MissingEndorsementError, NotAuthenticError: as `build`.
    """
    candidates = path.issuers(intermediate, certificates, SOURCE)
    root = path.pinned(candidates, roots.keys, roots.name, SOURCE)
    product = roots.products[root.key_sha256.hex()]
    for certificate in (intermediate, root):
        cache.check_rsa_pss_sha384(certificate.signed, root, certificate.common_name)
    _check_place(intermediate, intermediate_name(kind, product))
    _check_place(root, f"ARK-{product.name}")
    return product, root


def intermediate_name(kind: SigningKey, product: Product) -> str:
    """Return the common name of what signs keys of a kind."""
    return _INTERMEDIATE_NAMES[kind].format(product.name)


def _check_place(certificate: Certificate, common_name: str) -> None:
    if certificate.common_name != common_name:
        raise NotAuthenticError("certificate name", certificate.common_name, common_name, SOURCE)
    path.check_authority(certificate)
