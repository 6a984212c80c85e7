"""How do reference values look: for people, for programs, and as lines of a policy?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from shim.canonical import canonical_bytes
from shim.errors import one_line


@dataclass(frozen=True, slots=True)
class Value:
    """
    A reference value.

    Attributes:
        field: What a policy calls it.
        digest: The value.
        label: What it is the digest of; None for fields whose values a policy takes without a label.
    """

    field: str
    digest: bytes
    label: str | None = None


def show(
    values: Sequence[Value],
    section: str,
    output: str,
    *,
    unchecked: Sequence[str] = (),
    named: bool = True,
    facts: Mapping[str, str] | None = None,
) -> None:
    """
    Print reference values.

    Args:
        values: In their order; several may be of one field.
        section: The table of a policy in which the fields stand.
        output: "hex", "json" or "toml".
        unchecked: Fields for which there is no value, but which a policy must spell.
        named: Whether the fields' names stand before the digits where there are no others.
        facts: What else there is to say; a policy takes none of it.
    """
    fields = list(dict.fromkeys(value.field for value in values))
    if output == "json":
        lists = {field: [_json(value) for value in values if value.field == field] for field in fields}
        click.echo(canonical_bytes({"section": section, **lists, **(facts or {})}))
        return
    if output == "hex":
        for value in values:
            click.echo(f"{value.field} {value.digest.hex()}" if named else value.digest.hex())
        for name, fact in (facts or {}).items():
            click.echo(f"{name} {fact}")
        return
    click.echo(f"# for [{section}] of a policy")
    for field in fields:
        click.echo(f"{field} = [")
        for value in values:
            if value.field == field:
                click.echo(f"    {_toml(value)},")
        click.echo("]")
    for field in unchecked:
        click.echo(f'{field} = "unchecked"')


def _json(value: Value) -> str | dict[str, str]:
    digest = value.digest.hex()
    return digest if value.label is None else {"digest": digest, "label": one_line(value.label)}


def _toml(value: Value) -> str:
    digest = f'"{value.digest.hex()}"'
    if value.label is None:
        return digest
    # A JSON string of printable characters is a TOML string.
    return f"{{ digest = {digest}, label = {json.dumps(one_line(value.label), ensure_ascii=False)} }}"
