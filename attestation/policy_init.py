"""
Which policy accepts this evidence, and as little else as can be?

A start for somebody who has reasons to trust the evidence: the example of its kind, filled in with what was
said, each line with its comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import tomlkit
from tomlkit.items import Integer, Item, Table, Trivia

from attestation import kinds, policy_example
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import PolicyError, PolicyProblem
from attestation.observed import Mask
from attestation.path import Roots
from attestation.policy import load
from attestation.policy_file import locate
from attestation.result import Mismatch
from attestation.snp.roots import Roots as SnpRoots
from shim.canonical import JsonValue

_COLUMN = 27
_WHERE = "the drafted policy"
_DEBUG = ("guest_policy.debug", "td_attributes.debug", "attributes.debug")


def draft(
    evidence: bytes,
    endorsements: Endorsements,
    tee: str,
    *,
    label: str,
    now: datetime,
    roots: SnpRoots | Roots | None = None,
) -> str:
    """
    Return the text of a policy that accepts `evidence`: each value is pinned to what was said.

    What differs at every launch, or was not said, is spelled "unchecked".  `boot` is the author's statement,
    which no evidence can prove: it stands as the example has it, to be read and thought about.

    Args:
        evidence: As it was collected.
        endorsements: Certificates and lists, besides those inside the evidence.
        tee: The kind of evidence, one of `attestation.kinds.KINDS`.
        label: What the measurement is of, in the user's words.
        now: The time to judge at, with its time zone.
        roots: Instead of the pinned roots of the kind; for tests and private hierarchies.

    Raises:
        AuthenticationError: the evidence is not authentic: nothing that it says is worth pinning.
        PolicyError: what was said makes no policy: its host can debug it, or it leaves open what was booted.
    """
    kind = kinds.KINDS[tee]
    criteria = kind.criteria()
    authenticated = kind.authenticate(
        kind.parse(evidence),
        endorsements | kind.endorsements,
        kind.roots if roots is None else roots,
        now=now,
        skew=timedelta(0),
        crl_required=False,
        cache=Cache(),
    )
    crl = "required" if kind.lists_checked(authenticated) else "unchecked"
    values = {
        **criteria.observed(authenticated, label),
        "crl": crl,
        **dict.fromkeys(criteria.volatile, "unchecked"),
    }
    text = fill(policy_example.text(tee), values)
    _refuse_debugging(text, values)
    rules = load(text, _WHERE).rules
    _raise_if_any(text, (*criteria.appraise(authenticated, rules), *criteria.uncovered(authenticated)))
    return text


def fill(example: str, values: Mapping[str, JsonValue]) -> str:
    """
    Return an example with other values at their dotted keys, and its comments.

    Tables inside of tables go if there is no value for any of their keys: they are about other products.
    """
    document = tomlkit.parse(example)
    for name, table in document.items():
        for inner in (
            [key for key, item in table.items() if isinstance(item, Table)] if _is_table(table) else ()
        ):
            if not any(key.startswith(f"{name}.{inner}.") for key in values):
                del table[inner]
    for key, value in values.items():
        *path, last = key.split(".")
        table = document
        for name in path:
            table = table[name]
        if isinstance(value, Mapping) and isinstance(table[last], Table):
            _replace(table[last], value)
        else:
            table[last] = _item(value)
    return _aligned(tomlkit.dumps(document), policy_example.comments(example))


def _aligned(text: str, comments: Mapping[str, str]) -> str:
    """Put each key's comment where the examples have it, or a little behind its value."""
    lines = text.splitlines()
    for key, number in locate(text).items():
        if key in comments:
            value = lines[number - 1].removesuffix(f"# {comments[key]}").rstrip()
            lines[number - 1] = f"{value:<{_COLUMN}} # {comments[key]}"
    return "".join(f"{line}\n" for line in lines)


def _is_table(item: object) -> bool:
    return isinstance(item, Mapping)


def _replace(table: Any, value: Mapping[str, JsonValue]) -> None:  # noqa: ANN401  # tomlkit's are not typed
    for name in list(table):
        del table[name]
    for name, inner in value.items():
        table[name] = _item(inner)


def _item(value: JsonValue) -> Item:
    """Return a value as the examples write it: tables of an array each on a line of its own."""
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        inline.update({name: _item(inner) for name, inner in value.items()})
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_item(inner) for inner in value)
        return array.multiline(any(isinstance(inner, Mapping) for inner in value))
    if isinstance(value, Mask):
        return Integer(value, Trivia(), hex(value))
    return tomlkit.item(value)


def _refuse_debugging(text: str, values: Mapping[str, JsonValue]) -> None:
    """What its host can debug says what the host wants it to say."""
    want = "clear: what its host can debug vouches for nothing"
    _raise_if_any(text, [Mismatch(key, "set", want, "") for key in _DEBUG if values.get(key) == "set"])


def _raise_if_any(text: str, mismatches: Iterable[Mismatch]) -> None:
    lines = locate(text)
    problems = tuple(
        PolicyProblem(lines.get(one.field, 1), one.field, one.found, one.want) for one in mismatches
    )
    if problems:
        raise PolicyError(_WHERE, problems)
