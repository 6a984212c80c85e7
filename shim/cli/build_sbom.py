"""What a user says of an image in its bills of materials, and what is missing in them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from images.records import Said
    from images.sbom.ntia import MissingElement

MAX_TEXT = 200
# Which option says what is missing of an image.
_OPTIONS = MappingProxyType(
    {
        "Supplier Name": "--supplier NAME",
        "Version of the Component": "--program-version TEXT",
        "Author of SBOM Data": "--author NAME",
    }
)


@dataclass(frozen=True, slots=True)
class SaidOptions:
    """The fields are the options of `said_options`."""

    supplier: str
    program_version: str
    author: str

    def said(self, *, documented: bool) -> Said:
        """
        Return what the user says of the image.

        Args:
            documented: Whether there are documents to say it in.

        Raises:
            UsageError: there are none.
            BadParameter: a text that is none.
        """
        from images.records import Said

        for name in self.__slots__:
            text, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if text and not documented:
                raise click.UsageError(f"found {option}, want --sbom DIR beside it")
            if len(text) > MAX_TEXT or not text.isprintable() or text != text.strip():
                want = f"at most {MAX_TEXT} characters in one line"
                raise click.BadParameter(f"found {text!r}, want {want}", param_hint=option)
        return Said(self.supplier, self.program_version, self.author)


def said_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a user says what no record does, as `said`."""

    @click.option(
        "--supplier",
        default="",
        metavar="NAME",
        help="With --sbom: who hands out the image, and its program if that is of no package.",
    )
    @click.option(
        "--program-version",
        default="",
        metavar="TEXT",
        help="With --sbom: the version of the image, and of such a program.",
    )
    @click.option(
        "--author",
        default="",
        metavar="NAME",
        help="With --sbom: who vouches for it; NAME or 'NAME <ADDRESS>'.",
    )
    @functools.wraps(command)
    def with_said(*context: click.Context, **given: Any) -> Any:  # noqa: ANN401  # one type per option
        said = SaidOptions(**{name: given.pop(name) for name in SaidOptions.__slots__})
        return command(*context, said=said, **given)

    return with_said


def warnings(missing: Iterable[MissingElement]) -> Iterator[str]:
    """Yield what is missing in bills of materials, and which option says it where one does."""
    for one in missing:
        # Packages of no ecosystem are the program itself, and ours, which lack nothing.
        own = one.component.startswith(("image ", "generic "))
        option = _OPTIONS.get(one.element, "") if own else ""
        remedy = f"; {option} says it" if option else ", and no record says it"
        yield f"SBOM: no {one.element} of {one.component}{remedy}"
