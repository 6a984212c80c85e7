"""`shim verify`: is this the machine and the image that the policy expects?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from shim.cli.arguments import (
    EARLY,
    ENDORSEMENTS,
    EVENT_LOG,
    EVIDENCE,
    FORMAT,
    NO_STORE,
    STORE,
    TIME,
    hexadecimal,
)
from shim.cli.ear_output import ear_options, signing_key, write_token


@click.command("verify")
@EVIDENCE
@ENDORSEMENTS
@STORE
@NO_STORE
@EARLY
@EVENT_LOG
@TIME
@FORMAT
@click.option(
    "--policy",
    "policy_path",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What is accepted; `shim policy example KIND` prints one with every key explained.",
)
@click.option(
    "--nonce", type=hexadecimal(32), metavar="HEX", help="The 32 bytes that were sent to the machine."
)
@click.option(
    "--public-key", type=hexadecimal(32), metavar="HEX", help="The guest's X25519 key, if it sent one."
)
@click.option(
    "--plan-digest",
    type=hexadecimal(32),
    metavar="HEX",
    help="SHA-256 of the launch plan; zeros if there is none.",
)
@click.option(
    "--report-data",
    type=hexadecimal(64),
    metavar="HEX",
    help='All 64 bytes, for a policy with binding = "exact".',
)
@click.option("--explain", is_flag=True, help="Print each check in its order: what was compared, and why.")
@ear_options
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
    policy_path: Path,
    nonce: bytes | None,
    public_key: bytes | None,
    plan_digest: bytes | None,
    report_data: bytes | None,
    explain: bool,
    ear_path: str | None,
    ear_key_path: Path | None,
    ear_profile: str,
    ear_lifetime: int,
) -> None:
    """
    Appraise EVIDENCE against a policy.

    Exit codes: 0 affirmed; 2 usage, or a policy that cannot be used; 10 malformed; 11 not authentic;
    12 expired or not yet valid; 13 revoked; 14 cannot tell; 15 stale nonce or wrong binding; 16 TCB too low;
    17 policy mismatch.  When several apply, the first in this order: 10, 11, 13, 12, 14, 15, 16, 17.
    """
    from attestation import files  # --help must not load cryptography

    evidence = files.read_evidence(evidence_path)

    from attestation import appraise, reference_files  # nor must the refusal of a large file
    from attestation.binding import Binding, Exact, Nonce, Shim
    from attestation.errors import AppraisalError
    from attestation.kinds import KINDS
    from attestation.result import AttestationResult
    from attestation.trail import SILENT, Trail
    from attestation.verdict import Verdict
    from shim.cli import attestation_output, endorsing

    if report_data is not None and (nonce or public_key or plan_digest):
        raise click.UsageError("--report-data stands for --nonce, --public-key and --plan-digest together")
    if nonce is None and (public_key or plan_digest):
        raise click.UsageError("--public-key and --plan-digest mean nothing without --nonce")
    rules = reference_files.load_policy(policy_path)
    binding: Binding | None = None if report_data is None else Exact(report_data)
    if nonce is not None and rules.binding == "nonce":
        if public_key or plan_digest:
            raise click.UsageError("the policy binds the nonce alone, no --public-key and no --plan-digest")
        binding = Nonce(nonce)
    elif nonce is not None:
        binding = Shim(nonce, public_key, plan_digest or bytes(32))
    key = signing_key(ear_path, ear_key_path)
    trail = Trail() if explain else SILENT

    def show(outcome: AttestationResult) -> None:
        if ear_path is not None and key is not None:
            write_token(
                outcome, key, ear_path, profile=ear_profile, lifetime=ear_lifetime, nonce=nonce, at=at
            )
        attestation_output.show_result(outcome, output, trail.checks)

    lookup = endorsing.Lookup(
        kind=KINDS[rules.tee],
        data=evidence,
        evidence_path=evidence_path,
        paths=endorsement_paths,
        store_path=store_path,
        no_store=no_store,
        early_paths=early_paths,
    )
    endorsements = lookup.endorsements(at)
    log = None if event_log_path is None else files.read_event_log(event_log_path)
    try:
        result = appraise.appraise(
            evidence, endorsements, rules, binding=binding, now=at, event_log=log, trail=trail
        )
    except AppraisalError as error:
        show(error.result)
        lookup.advise(error, error.result.verdict)
        if error.result.verdict is Verdict.MALFORMED:
            endorsing.advise_on_malformed(error, evidence, rules.tee)
        elif error.mismatches[0].field == "binding" and binding is None:
            error.add_note("give what was sent: --nonce, or --report-data for a policy that wants it exactly")
        raise
    show(result)
