"""`shim policy`: a policy to start with, whether one can be used, and what may stand in it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from shim.cli.arguments import ENDORSEMENTS, EVIDENCE, KINDS, NO_STORE, STORE, TIME
from shim.cli.files import write_output


@click.group("policy", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Write, check and describe appraisal policies."""


@command.command("init")
@EVIDENCE
@ENDORSEMENTS
@STORE
@NO_STORE
@TIME
@click.option(
    "--tee", type=click.Choice(KINDS), default="snp", show_default=True, help="The kind of evidence."
)
@click.option("--label", metavar="TEXT", help="What the measurement is of.  [default: the evidence's name]")
@click.option("-o", "--output", default="-", metavar="FILE", help="File to write, instead of printing.")
def init(  # noqa: PLR0913  # one parameter per option
    *,
    evidence_path: Path,
    endorsement_paths: tuple[Path, ...],
    store_path: Path | None,
    no_store: bool,
    at: datetime,
    tee: str,
    label: str | None,
    output: str,
) -> None:
    """
    Write a policy that accepts EVIDENCE, which you have reasons to trust, and as little else as can be.

    Every line has a comment; read it before you use it: what `boot` says no evidence can prove.
    Exit codes: 0 written; 2 what was said makes no policy; 10 to 16 as those of `shim inspect`.
    """
    from attestation import files, kinds, policy_init
    from attestation.errors import AuthenticationError
    from attestation.policy import load
    from shim.cli import endorsing

    evidence = files.read_evidence(evidence_path)
    endorsing.parsed(evidence, tee)
    lookup = endorsing.Lookup(
        kind=kinds.KINDS[tee],
        data=evidence,
        evidence_path=evidence_path,
        paths=endorsement_paths,
        store_path=store_path,
        no_store=no_store,
    )
    said = label or f"{evidence_path.name}, evaluated {at:%Y-%m-%d}"
    try:
        text = policy_init.draft(evidence, lookup.endorsements(at), tee, label=said, now=at)
    except AuthenticationError as error:
        lookup.advise(error, error.verdict)
        raise
    write_output(output, text.encode())
    unchecked = load(text, "the drafted policy").unchecked
    click.echo(f"shim: left unchecked: {', '.join(unchecked) or 'nothing'}", err=True)


@command.command("check")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(paths: tuple[Path, ...]) -> None:
    """
    Say whether each FILE can be used as a policy, with the files that it names, and what it leaves unchecked.

    Exit codes: 0 all can be used; 2 one cannot, with the line and the key of everything that is wrong.
    """
    from attestation.errors import PolicyError
    from attestation.reference_files import load_policy
    from attestation.reference_values import ReferenceValueError

    refused = False
    for path in paths:
        try:
            policy = load_policy(path)
        except (PolicyError, ReferenceValueError) as error:
            click.echo(str(error), err=True)
            refused = True
        else:
            unchecked = ", ".join(policy.unchecked) or "nothing"
            click.echo(f"{path}: a policy for {policy.tee}, boot {policy.boot}; unchecked: {unchecked}")
    if refused:
        raise click.exceptions.Exit(PolicyError.exit_code)


@command.command("example")
@click.argument("tee", type=click.Choice(KINDS))
def example(tee: str) -> None:
    """Print a policy for a kind of evidence that explains every key."""
    from attestation import policy_example

    click.echo(policy_example.text(tee), nl=False)


@command.command("schema")
def schema() -> None:
    """Print what may stand in a policy, as a JSON Schema."""
    from attestation import policy_schema

    click.echo(json.dumps(policy_schema.schema(), indent=2))
