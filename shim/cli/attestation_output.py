"""How do claims and attestation results look, for people and for programs?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attestation.errors import AuthenticationError
from attestation.kind import Claims
from attestation.result import AttestationResult
from attestation.simulated.product import SIMULATED_PRODUCT
from attestation.trail import Check, Outcome
from attestation.verdict import Verdict
from shim.canonical import JsonValue, canonical_bytes

_SIMULATED = "SIMULATED: this proves nothing about any hardware"
_SOFTWARE = "SOFTWARE TPM: whoever runs it can make it say anything"
_WIDTH = 120  # where the output is no terminal
_LINE = 90
_DIGITS_PER_LINE = 64  # 32 bytes; a SHA-384 digest takes one line and a half


def show_result(result: AttestationResult, output: str, checks: Sequence[Check] = ()) -> None:
    """Print the outcome of an appraisal, and each of `checks` that led to it."""
    if output == "json":
        explained: dict[str, JsonValue] = {"checks": [one.to_json() for one in checks]} if checks else {}
        click.echo(canonical_bytes(dict(result.to_value()) | explained))
        return
    console = _console()
    _headline(
        console, result.verdict, result.verdict.value, simulated=result.simulated, software=result.software
    )
    facts = {
        "kind": result.label,
        "evaluated at": result.evaluated_at,
        "evidence sha256": result.evidence_sha256,
        "policy sha256": result.policy_sha256,
        **{f"sha256 of {file}": digest for file, digest in result.reference_values.items()},
    }
    console.print(_facts("appraisal", facts))
    if checks:
        _show_checks(console, checks)
    _show_mismatches(console, result)
    for warning in result.warnings:
        console.print(f"[bold yellow]! {escape(str(warning))}[/bold yellow]", soft_wrap=True)
    if result.claims is not None:
        console.print(_facts("claims", dict(_flat(result.claims))))
    if result.unchecked:
        console.print(f"[bold]unchecked[/bold]: {escape(', '.join(result.unchecked))}")


def show_authentic(tee: str, claimed: Claims, output: str, *, simulated: bool, lists_checked: bool) -> None:
    """Print claims that the hardware, or the simulation, made."""
    if output == "json":
        software = "SOFTWARE TPM" if _is_software(claimed) else tee
        named: JsonValue = "SIMULATED" if simulated else software
        outcome = {"tee": named, "simulated": simulated, "verdict": "authentic", "claims": claimed}
        click.echo(canonical_bytes(outcome))
        return
    console = _console()
    _headline(console, Verdict.AFFIRMING, "authentic", simulated=simulated, software=_is_software(claimed))
    console.print(_facts("claims", dict(_flat(claimed))))
    if not lists_checked:
        console.print("[bold]unchecked[/bold]: revocation, because no revocation list was supplied")
    if "certificateHold" in dict(_flat(claimed)).values():
        console.print("[bold]unchecked[/bold]: whether a certificate on hold is accepted")
    if "cpak_sha256" in claimed:
        console.print("[bold]unchecked[/bold]: whose key signed: it is the one that was supplied")
    if "ak" in claimed:
        console.print("[bold]unchecked[/bold]: whose key signed: a policy names keys, or roots above them")
    if "tcb" in claimed and claimed["tcb"] is None:
        console.print("[bold]unchecked[/bold]: the TCB's status, because no collateral was supplied")


def show_unproven(claimed: Claims, error: AuthenticationError, output: str, *, simulated: bool) -> None:
    """Print claims that nothing proves, and why."""
    simulated = simulated or claimed.get("product") == SIMULATED_PRODUCT.name
    if output == "json":
        reason: JsonValue = {
            "where": error.where,
            "found": error.found,
            "want": error.want,
            "source": error.source,
        }
        outcome: dict[str, JsonValue] = {
            "simulated": simulated,
            "verdict": error.verdict.value,
            "reason": reason,
            "unproven_claims": claimed,
        }
        click.echo(canonical_bytes(outcome))
        return
    console = _console()
    _headline(console, error.verdict, error.verdict.value, simulated=simulated)
    console.print(escape(str(error)), soft_wrap=True)
    console.print(_facts("claims that nothing proves", dict(_flat(claimed))))


_MARKS = {
    Outcome.HELD: "[green]✓[/green]",
    Outcome.FAILED: "[bold red]✗[/bold red]",
    Outcome.UNCHECKED: "-",
    Outcome.STATED: "·",
}


def _show_checks(console: Console, checks: Sequence[Check]) -> None:
    console.print("[bold]checks[/bold], in their order")
    for number, one in enumerate(checks, 1):
        console.print(f"{number:4} {_MARKS[one.outcome]} [bold]{escape(one.field)}[/bold]")
        facts = {"found": one.found, "want": one.want, "source": one.source}
        if one.outcome is Outcome.UNCHECKED:
            facts["want"] = "unchecked"
        for name, value in facts.items():
            if value:
                console.print(f"         {name:<6} {escape(value)}", soft_wrap=True)


def _show_mismatches(console: Console, result: AttestationResult) -> None:
    for mismatch in result.mismatches:
        console.print(f"[bold red]✗ {escape(mismatch.field)}[/bold red]")
        facts = {"found": mismatch.found, "want": mismatch.want, "source": mismatch.source}
        for name, value in facts.items():
            if value:
                console.print(f"    {name:<6} {escape(value)}", soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def _is_software(claimed: Claims) -> bool:
    """Whether the endorsement certificate of a TPM says so."""
    maker = claimed.get("ek")
    return isinstance(maker, Mapping) and maker.get("software") is True


def _headline(
    console: Console, verdict: Verdict, text: str, *, simulated: bool, software: bool = False
) -> None:
    for label in ([_SIMULATED] if simulated else []) + ([_SOFTWARE] if software else []):
        console.print(f"[bold yellow]{label}[/bold yellow]")
    colour = "green" if verdict is Verdict.AFFIRMING else "red"
    console.print(f"verdict: [bold {colour}]{text}[/bold {colour}]")


def _facts(title: str, facts: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(escape(name), escape(value))
    return table


def _flat(value: JsonValue, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of a JSON value with dotted names; a short table stays on one line."""
    if isinstance(value, Mapping):
        line = ", ".join(f"{key} {_leaf(item)}" for key, item in value.items() if item is not False)
        if prefix and len(line) <= _LINE and not any(isinstance(item, Mapping) for item in value.values()):
            yield prefix, line
            return
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            yield from _flat(item, f"{prefix}.{number}")
    else:
        yield prefix, _leaf(value)


def _leaf(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case True:
            return "yes"
        case False:
            return "no"
        case str() if len(value) >= 2 * _DIGITS_PER_LINE // 4 and not value.strip("0"):
            return f"{len(value) // 2} zero bytes"
        case str() if len(value) > _DIGITS_PER_LINE and " " not in value:
            return "\n".join(textwrap.wrap(value, _DIGITS_PER_LINE))
        case _:
            return str(value)
