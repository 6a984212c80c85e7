"""`shim inspect`: is this evidence authentic, and what does it claim?"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click

from shim.cli.arguments import ENDORSEMENTS, EVIDENCE, FORMAT, TIME


@click.command("inspect")
@EVIDENCE
@ENDORSEMENTS
@TIME
@FORMAT
@click.option(
    "--tee",
    type=click.Choice(["snp", "simulated"]),
    default="snp",
    help="Whose roots to trust; evidence never chooses that itself.",
)
def command(
    *, evidence_path: Path, endorsement_paths: tuple[Path, ...], at: datetime, output: str, tee: str
) -> None:
    """
    Show what EVIDENCE claims, and whether it is authentic.

    Nothing is compared with a policy: authentic means that the hardware said it, not that it is good.
    Exit codes: 0 authentic; 10 malformed; 11 not authentic; 12 expired or not yet valid; 13 revoked;
    14 cannot tell, because endorsements are missing.
    """
    from attestation import files  # --help must not load cryptography

    data = files.read_limited(evidence_path, "evidence")

    from attestation import kinds  # nor must the refusal of a file that is too large
    from attestation.errors import AuthenticationError
    from attestation.snp import evidence as snp, products
    from attestation.snp.authenticate import authenticate
    from shim.cli import attestation_output

    evidence = snp.parse(data)
    kind = kinds.KINDS[tee]
    try:
        endorsements = files.read_endorsements(endorsement_paths) | kind.endorsements
        authenticated = authenticate(evidence, endorsements, kind.roots, now=at, skew=timedelta(0))
    except AuthenticationError as error:
        known = [product for kind in kinds.KINDS.values() for product in kind.roots.products.values()]
        cpuid = evidence.report.cpuid
        product = None if cpuid is None else products.with_cpuid(known, *cpuid[:2])
        attestation_output.show_unproven(evidence.report, product, error, output)
        raise
    attestation_output.show_authentic(authenticated, output, simulated=kind.simulated)
