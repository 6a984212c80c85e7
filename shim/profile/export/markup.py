"""
How does a page stay a page whatever the texts in it say?

Text becomes markup only through `element`, which escapes everything that is not `Markup` already: there is no
place where escaping could be forgotten.  Characters that do not show, or that turn the direction of the text,
are spelled out.
"""

from __future__ import annotations

import html

_VOID = frozenset({"input", "meta", "rect"})


class Markup(str):
    """Text that is HTML already; only `element` and literals of this package make it."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | int | bool) -> Markup:
    """
    Return one element, its children and attributes escaped unless they are `Markup`.

    Args:
        tag: The element's name.
        children: Text and markup, in order.
        attributes: By name, `_` for `-`, with one at the end where Python has a keyword; True writes the name
            alone, False nothing.
    """
    opened = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{html.escape(visible(str(value)))}"'
        for name, value in attributes.items()
        if value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{opened}>" if tag != "rect" else f"<{tag}{opened}/>")
    return Markup(f"<{tag}{opened}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Markup:
    """Return children one after the other, escaped unless they are `Markup`."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(visible(c)) for c in children))


def visible(text: str) -> str:
    """Return `text` with every character that does not print as its number, so that none can hide."""
    return "".join(letter if letter.isprintable() else _spelled(ord(letter)) for letter in text)


def _spelled(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _name(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")
