"""`shim inspect`: is this evidence authentic, and what does it claim?"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click

from shim.cli.arguments import EARLY, ENDORSEMENTS, EVENT_LOG, EVIDENCE, FORMAT, KINDS, NO_STORE, STORE, TIME


@click.command("inspect")
@EVIDENCE
@ENDORSEMENTS
@STORE
@NO_STORE
@EARLY
@EVENT_LOG
@TIME
@FORMAT
@click.option(
    "--tee",
    type=click.Choice(KINDS),
    default="snp",
    show_default=True,
    help="Whose roots to trust; evidence never chooses that itself.",
)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    evidence_path: Path,
    endorsement_paths: tuple[Path, ...],
    early_paths: tuple[Path, ...],
    store_path: Path | None,
    no_store: bool,
    event_log_path: Path | None,
    at: datetime,
    output: str,
    tee: str,
) -> None:
    """
    Show what EVIDENCE claims, and whether it is authentic.

    Nothing is compared with a policy: authentic means that the hardware said it, not that it is good.
    Exit codes: 0 authentic; 10 malformed; 11 not authentic; 12 expired or not yet valid; 13 revoked;
    14 cannot tell, because endorsements are missing; 16 older than everything that Intel has a level for.
    """
    from attestation import files  # --help must not load cryptography

    data = files.read_evidence(evidence_path)

    from attestation import kinds  # nor must the refusal of a file that is too large
    from attestation.errors import AuthenticationError
    from shim.cli import attestation_output, endorsing

    kind = kinds.KINDS[tee]
    evidence = endorsing.parsed(data, tee)
    lookup = endorsing.Lookup(
        kind=kind,
        data=data,
        evidence_path=evidence_path,
        paths=endorsement_paths,
        store_path=store_path,
        no_store=no_store,
        early_paths=early_paths,
    )
    try:
        endorsements = lookup.endorsements(at) | kind.endorsements
        authenticated = kind.authenticate(
            evidence, endorsements, kind.roots, now=at, skew=timedelta(0), crl_required=False, cache=None
        )
        explained = {}
        if event_log_path is not None:
            from attestation.appraise import of_event_log  # most evidence comes without

            explained = of_event_log(kind, authenticated, files.read_event_log(event_log_path))
    except AuthenticationError as error:
        attestation_output.show_unproven(kind.unproven(evidence), error, output, simulated=kind.simulated)
        lookup.advise(error, error.verdict)
        raise
    attestation_output.show_authentic(
        tee,
        {**kind.claims(authenticated), **explained},
        output,
        simulated=kind.simulated,
        lists_checked=kind.lists_checked(authenticated),
    )
