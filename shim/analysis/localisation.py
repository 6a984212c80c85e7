"""
What does a C library only do in another locale than C?

It loads locales, catalogues of messages and tables of character sets.  Where no variable of the environment
names a locale it keeps to C and opens nothing (glibc 2.36, locale/setlocale.c, intl/dcigettext.c and
iconv/gconv_conf.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shim.analysis.numbers import KernelEntry
from shim.analysis.program import Program

# What the functions name that choose a locale, load it, and look for a catalogue or a table.
_NAMED = (
    b"LOCPATH\0",
    b"LANGUAGE\0",
    b"OUTPUT_CHARSET\0",
    b"/locale.alias\0",
    b"/locale-archive\0",
    b"/gconv\0",
)
_LONGEST = 256


def localised(program: Program, _: Iterable[KernelEntry]) -> set[int]:
    """Return the functions that choose and load locales, catalogues of messages and character sets."""
    places = {start for text in _NAMED for start in _strings_ending(program, text)}
    return program.questions.naming(places)


def _strings_ending(program: Program, text: bytes) -> Iterator[int]:
    """Yield the addresses at which strings begin that end in `text`."""
    for place in program.memory.places(text):
        yield place
        before = program.memory.read(place - _LONGEST, _LONGEST)
        if b"\0" in before:
            yield place - len(before) + before.rfind(b"\0") + 1
