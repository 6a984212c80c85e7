"""
Which endorsements does evidence need that vendors hand out?

What evidence says of itself proves nothing, but it suffices to know what to look for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attestation.azure.evidence import Evidence as AzureEvidence
from attestation.certificate import Certificate, common_name, read_certificate
from attestation.errors import EvidenceFormatError
from attestation.intel import chain as intel_chain, pcs
from attestation.intel.endorsements import COMMON_NAME, read_extensions
from attestation.intel.evidence import Evidence as IntelEvidence
from attestation.intel.roots import INTEL
from attestation.path import Roots as IntelRoots
from attestation.snp import kds
from attestation.snp.evidence import Evidence as SnpEvidence
from attestation.snp.products import PRODUCTS, Product, with_cpuid
from attestation.snp.report import Report, SigningKey
from attestation.snp.roots import AMD, Roots as AmdRoots
from attestation.wanted import Wanted

# Reports of version 2 name no product, and only these have any.
VERSION_2 = tuple(one for one in PRODUCTS if one.name in {"Milan", "Genoa"})


def of_evidence(
    evidence: object, products: Sequence[Product] = VERSION_2, *, early: bool = False
) -> tuple[Wanted, ...]:
    """
    Return what to look for, none where this kind of evidence needs nothing that is handed out.

    Args:
        evidence: As its kind's `parse` returns it.
        products: To look for, where a report of AMD does not name its product.
        early: Of what Intel serves twice, the one that takes a TCB recovery into account at once.

    Raises:
        EvidenceFormatError: the evidence does not say enough: no chip, or no PCK certificate.
    """
    if isinstance(evidence, AzureEvidence):
        evidence = evidence.hardware
    if isinstance(evidence, SnpEvidence):
        return _of_report(evidence.report, products)
    if isinstance(evidence, IntelEvidence):
        return _of_quote(evidence, early=early)
    return ()


def _of_report(report: Report, products: Sequence[Product]) -> tuple[Wanted, ...]:
    if report.cpuid is not None:
        product = with_cpuid(PRODUCTS, *report.cpuid[:2])
        products = () if product is None else (product,)
    if report.signing_key is SigningKey.VLEK:  # which AMD gives to clouds only, and these to their guests
        return tuple(one for product in products for one in of_product(product, SigningKey.VLEK))
    if not any(report.chip_id):
        want = "the chip: the host masks it, and has to give the VCEK"
        raise EvidenceFormatError("report", "CHIP_ID", "zeros", want, kds.SOURCE)
    return tuple(
        one
        for product in products
        for one in of_chip(product, report.chip_id[: product.hwid_size], report.reported_tcb)
    )


def of_chip(product: Product, hwid: bytes, tcb: bytes, roots: AmdRoots = AMD) -> tuple[Wanted, ...]:
    """Return what reports of one chip under one TCB need: chain, VCEK and list."""
    above, crl = of_product(product, SigningKey.VCEK, roots)
    return above, kds.Vcek(product, hwid, tcb, roots), crl


def of_product(product: Product, kind: SigningKey, roots: AmdRoots = AMD) -> tuple[Wanted, Wanted]:
    """Return what reports of every chip of a product need: chain and list."""
    return kds.CertificateChain(product, kind, roots), kds.RevocationList(product, kind, roots)


def _of_quote(evidence: IntelEvidence, *, early: bool) -> tuple[Wanted, ...]:
    for certificate in map(read_certificate, evidence.endorsements.certificates):
        if certificate.common_name == COMMON_NAME:
            fmspc = read_extensions(certificate).fmspc
            return of_platform(evidence.tee, fmspc, _cas(certificate), early=early)
    want = "a PCK certificate, which says the FMSPC"
    raise EvidenceFormatError("quote", "certification data", "no certificate", want, pcs.SOURCE)


def _cas(certificate: Certificate) -> tuple[str, ...]:
    names = {f"Intel SGX PCK {one.capitalize()} CA": one for one in pcs.CAS}
    issuer = common_name(certificate.issuer)
    if issuer not in names:
        want = " or ".join(sorted(intel_chain.PCK_ISSUERS))
        raise EvidenceFormatError("issuer of the PCK", "", repr(issuer), want, intel_chain.SOURCE)
    return (names[issuer],)


def of_platform(
    tee: str, fmspc: bytes, cas: Iterable[str], roots: IntelRoots = INTEL, *, early: bool = False
) -> tuple[Wanted, ...]:
    """Return what quotes for a `tee` from platforms of a family need: documents and lists."""
    lists = tuple(pcs.PckList(ca, roots) for ca in cas)
    return (
        pcs.TcbInfo(tee, fmspc, early, roots),
        pcs.QeIdentity(tee, early, roots),
        *lists,
        pcs.RootList(lists[0].ca, roots),
    )


def named(url: str) -> Wanted:
    """
    Return what a URL names, under which an endorsement was kept.

    Raises:
        EvidenceFormatError: no vendor serves anything under such a URL.
    """
    wanted = kds.named(url) or pcs.named(url)
    if wanted is None:
        raise EvidenceFormatError("endorsement", "", repr(url[:200]), "the URL of one of AMD's or Intel's")
    return wanted


def is_ambiguous(wanted: Iterable[Wanted]) -> bool:
    """Whether what is looked for is of several products, because a report does not name its own."""
    return len({one.product for one in wanted if isinstance(one, kds.CertificateChain)}) > 1
