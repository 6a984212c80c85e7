"""How do claims and attestation results look, for people and for programs?"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from attestation.errors import AuthenticationError
from attestation.simulated.product import SIMULATED_PRODUCT
from attestation.trail import Check, Outcome
from attestation.verdict import Verdict
from shim.canonical import JsonValue, canonical_bytes
from shim.errors import one_line

if TYPE_CHECKING:
    from attestation.kind import Claims
    from attestation.result import AttestationResult

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
    _headline(result.verdict, result.verdict.value, simulated=result.simulated, software=result.software)
    facts = {
        "kind": result.label,
        "evaluated at": result.evaluated_at,
        "evidence sha256": result.evidence_sha256,
        "policy sha256": result.policy_sha256,
        **{f"sha256 of {file}": digest for file, digest in result.reference_values.items()},
    }
    _show_facts("appraisal", facts)
    if checks:
        _show_checks(checks)
    _show_mismatches(result)
    for warning in result.warnings:
        _say(f"! {warning}", fg="yellow")
    if result.claims is not None:
        _show_facts("claims", dict(_flat(result.claims)))
    if result.unchecked:
        _show_unchecked(", ".join(result.unchecked))


def show_authentic(tee: str, claimed: Claims, output: str, *, simulated: bool, lists_checked: bool) -> None:
    """Print claims that the hardware, or the simulation, made."""
    if output == "json":
        software = "SOFTWARE TPM" if _is_software(claimed) else tee
        named: JsonValue = "SIMULATED" if simulated else software
        outcome = {"tee": named, "simulated": simulated, "verdict": "authentic", "claims": claimed}
        click.echo(canonical_bytes(outcome))
        return
    _headline(Verdict.AFFIRMING, "authentic", simulated=simulated, software=_is_software(claimed))
    _show_facts("claims", dict(_flat(claimed)))
    if not lists_checked:
        _show_unchecked("revocation, because no revocation list was supplied")
    if "certificateHold" in dict(_flat(claimed)).values():
        _show_unchecked("whether a certificate on hold is accepted")
    if "cpak_sha256" in claimed:
        _show_unchecked("whose key signed: it is the one that was supplied")
    if "ak" in claimed:
        _show_unchecked("whose key signed: a policy names keys, or roots above them")
    if "tcb" in claimed and claimed["tcb"] is None:
        _show_unchecked("the TCB's status, because no collateral was supplied")


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
    _headline(error.verdict, error.verdict.value, simulated=simulated)
    _echo(one_line(str(error)))
    _show_facts("claims that nothing proves", dict(_flat(claimed)))


_MARKS = {
    Outcome.HELD: click.style("✓", fg="green"),
    Outcome.FAILED: click.style("✗", fg="red", bold=True),
    Outcome.UNCHECKED: "-",
    Outcome.STATED: "·",
}


def _show_checks(checks: Sequence[Check]) -> None:
    _echo(click.style("checks", bold=True) + ", in their order")
    for number, one in enumerate(checks, 1):
        _echo(f"{number:4} {_MARKS[one.outcome]} {click.style(one_line(one.field), bold=True)}")
        want = "unchecked" if one.outcome is Outcome.UNCHECKED else one.want
        _show_comparison(" " * 9, one.found, want, one.source)


def _show_mismatches(result: AttestationResult) -> None:
    for mismatch in result.mismatches:
        _say(f"✗ {mismatch.field}", fg="red")
        _show_comparison(" " * 4, mismatch.found, mismatch.want, mismatch.source)


def _show_comparison(indent: str, found: str, want: str, source: str) -> None:
    for name, value in (("found", found), ("want", want), ("source", source)):
        if value:
            _echo(f"{indent}{name:<6} {one_line(value)}")


def _show_unchecked(text: str) -> None:
    _echo(f"{click.style('unchecked', bold=True)}: {one_line(text)}")


def _is_software(claimed: Claims) -> bool:
    """Whether the endorsement certificate of a TPM says so."""
    maker = claimed.get("ek")
    return isinstance(maker, Mapping) and maker.get("software") is True


def _headline(verdict: Verdict, text: str, *, simulated: bool, software: bool = False) -> None:
    for label in ([_SIMULATED] if simulated else []) + ([_SOFTWARE] if software else []):
        _say(label, fg="yellow")
    colour = "green" if verdict is Verdict.AFFIRMING else "red"
    _echo(f"verdict: {click.style(text, fg=colour, bold=True)}")


def _show_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print two columns, the second folded: a library for tables takes as long to load as all the rest."""
    _echo(click.style(title, italic=True))
    names = [one_line(name) for name in facts]
    width = max(map(len, names), default=0)
    room = max(_columns() - width - 2, _DIGITS_PER_LINE)
    for name, value in zip(names, facts.values(), strict=True):
        folded = [part for line in value.split("\n") for part in textwrap.wrap(one_line(line), room)]
        first, *rest = folded or [""]
        _echo(f"{click.style(name, bold=True)}{' ' * (width - len(name))}  {first}")
        for line in rest:
            _echo(" " * (width + 2) + line)


def _say(text: str, fg: str) -> None:
    _echo(click.style(one_line(text), fg=fg, bold=True))


def _echo(line: str) -> None:
    click.echo(line, color=False if os.environ.get("NO_COLOR") else None)


def _columns() -> int:
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else _WIDTH


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
