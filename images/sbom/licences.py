"""Licence expressions as SPDX accepts them, out of what packages say."""

from __future__ import annotations

import re
from functools import cache

from license_expression import LicenseExpression, Licensing, get_spdx_licensing

REFERENCE = "LicenseRef-"
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")


@cache
def _licensing() -> Licensing:
    """Return the SPDX License List, which takes a tenth of a second to read."""
    return get_spdx_licensing()


def parsed(expression: str) -> LicenseExpression:
    """Return an expression that `accepted` gave, as the library has it."""
    return _licensing().parse(expression)


@cache
def accepted(text: str) -> str:
    """
    Return the SPDX expression that `text` is, "" for one that is none.

    Names that the SPDX License List does not have become references: they are the package's own.

    Source:
        SPDX 2.3, annex D, "SPDX License Expressions".
    """
    if not text:
        return ""
    licensing = _licensing()
    for name in sorted(licensing.validate(text).invalid_symbols or (), key=len, reverse=True):
        if not _REFERENCE.fullmatch(name):
            own = REFERENCE + re.sub(r"[^A-Za-z0-9.]+", "-", name.removeprefix(REFERENCE)).strip("-")
            text = re.sub(rf"(?<![\w.+-]){re.escape(name)}(?![\w.+-])", own, text)
    problems = licensing.validate(text)
    if any(not _REFERENCE.fullmatch(name) for name in problems.invalid_symbols or ()):
        return ""
    if problems.errors and not problems.invalid_symbols:
        return ""
    return text


def references(expression: str) -> list[str]:
    """Return the names in an expression that are a package's own."""
    return _REFERENCE.findall(expression)
