"""
Which data files can a program use, and which can it not although it names them?

The code has to name a file, and what decides whether it is read has to run: a function, or a variable of the
environment, which the launch plan fixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from images.data_rules import (
    BUILT_IN_LOCALES,
    C_LIBRARIES,
    CERTIFICATES,
    LOCALE_ARCHIVE,
    LOCALE_CONVERTERS,
    LOCALES,
    OPENSSL_DIRECTORIES,
    RULES,
    SECRET,
    TERMINALS,
    TLS_SETTINGS,
    ZONES,
    DataRule,
)
from images.tree import Reason
from shim.profile.footprint import Footprint, LiveFunction, NamedPath

_LOCALE_VARIABLES = ("LC_ALL", "LANG", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES", "LC_TIME", "LC_NUMERIC",
                     "LC_MONETARY")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file or directory that the program can use; `reason.by` is an object as the loader found it."""

    path: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Declined:
    """A file or directory that code names, and why it is not taken for that."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Data:
    """What of the known kinds of data a program can use, and what not."""

    wanted: tuple[Wanted, ...]
    declined: tuple[Declined, ...]


def data_of(footprint: Footprint, environment: Mapping[str, str]) -> Data:
    """
    Return the data that a program can use.

    Args:
        footprint: What its code names and runs.
        environment: All that it will find in its environment.

    Not checked:
        That the files exist; files that the program finds by its own configuration or input.
    """
    question = _Question(footprint, environment)
    found = [
        *question.table(),
        *question.certificates(),
        *question.zones(),
        *question.locales(),
        *question.character_sets(),
        *question.terminals(),
        *question.secrets(),
    ]
    return Data(
        tuple(one for one in found if isinstance(one, Wanted)),
        tuple(one for one in found if isinstance(one, Declined)),
    )


class _Question:
    """The rules, asked of one program."""

    def __init__(self, footprint: Footprint, environment: Mapping[str, str]) -> None:
        self._footprint = footprint
        self._environment = environment
        self._named: dict[str, list[NamedPath]] = {}
        for named in footprint.paths:
            self._named.setdefault(named.path.rstrip("/"), []).append(named)
        self._live: dict[str, LiveFunction] = {}
        for live in footprint.functions:
            known = self._live.setdefault(live.name, live)
            self._live[live.name] = live if live.by and not known.by else known

    def table(self) -> Iterator[Wanted | Declined]:
        """Yield what the table of rules says."""
        for rule in RULES:
            for named in self._named.get(rule.path, ())[:1]:
                yield self._ruled(rule, named)

    def _ruled(self, rule: DataRule, named: NamedPath) -> Wanted | Declined:
        if not rule.functions or not _is_c_library(named.object):
            return Wanted(rule.path, Reason(rule.rule, named.object, _naming(named)))
        live = [self._live[name] for name in sorted(rule.functions) if name in self._live]
        if not live:
            functions = ", ".join(sorted(rule.functions)[:3])
            return Declined(rule.path, f"nothing that can run calls {functions} or the like")
        outside = next((one for one in live if one.by), live[0])
        by = outside.by[0] if outside.by else outside.object
        return Wanted(rule.path, Reason(rule.rule, by, f"calls {outside.name}"))

    def certificates(self) -> Iterator[Wanted]:
        """Yield the places where TLS libraries look for certificates, and for their settings."""
        for path, named in self._named.items():
            reason = Reason("certificates", named[0].object, _naming(named[0]))
            settings = Reason("tls-settings", named[0].object, _naming(named[0]))
            if path.endswith(CERTIFICATES):
                yield Wanted(path, reason)
            elif path.endswith(TLS_SETTINGS):
                yield Wanted(path, settings)
            elif path.endswith(OPENSSL_DIRECTORIES):
                yield Wanted(f"{path}/openssl.cnf", settings)

    def zones(self) -> Iterator[Wanted | Declined]:
        """
        Yield the time zones: all where the program chooses by itself, else the one that TZ names.

        glibc 2.36, time/tzfile.c; Go 1.22, time/zoneinfo_unix.go.
        """
        local = self._live.get("time.initLocal")
        if local is not None and self._footprint.go:  # it puts the path together
            yield Wanted("/etc/localtime", Reason("local-time", local.object, f"calls {local.name}"))
        named = self._named.get(ZONES, [])
        own = [one for one in named if not _is_c_library(one.object)]
        go = self._live.get("time.LoadLocation")
        if own and len(self._footprint.origins) > 1 and not self._footprint.go:
            yield Wanted(ZONES, Reason("time-zones", own[0].object, _naming(own[0])))
        elif named and self._footprint.go and go is not None:
            yield Wanted(ZONES, Reason("time-zones", go.object, f"calls {go.name}"))
        elif named:
            zone = self._environment.get("TZ", "").lstrip(":")
            if zone and not zone.startswith("/"):
                reason = Reason("time-zones", named[0].object, f"TZ={zone} in the plan's environment")
                yield Wanted(f"{ZONES}/{zone}", reason)
            yield Declined(ZONES, "only the C library names it, and TZ chooses nothing else in there")

    def locales(self) -> Iterator[Wanted | Declined]:
        """
        Yield the locales that variables of the environment choose.

        setlocale(3); glibc 2.36, locale/findlocale.c.
        """
        named = [*self._named.get(LOCALE_ARCHIVE, ()), *self._named.get(LOCALES, ())]
        if not named:
            return
        chosen = {self._environment.get(name, "") for name in _LOCALE_VARIABLES} - BUILT_IN_LOCALES
        for locale in sorted(chosen):
            reason = Reason("locales", named[0].object, f"{locale} in the plan's environment")
            language, _, codeset = locale.partition(".")
            for path in (LOCALE_ARCHIVE, f"{LOCALES}/{locale}", f"{LOCALES}/{language}.{_plain(codeset)}"):
                yield Wanted(path, reason)
        if not chosen:
            yield Declined(LOCALES, "no variable of the plan's environment chooses another locale than C")

    def character_sets(self) -> Iterator[Wanted | Declined]:
        """
        Yield glibc's converters where somebody but the C library converts.

        glibc 2.36, iconv/gconv_conf.c.
        """
        for path, named in self._named.items():
            directory, _, name = path.rpartition("/")
            if name not in ("gconv-modules.cache", "gconv-modules") and not path.endswith("/gconv"):
                continue
            directory = path if path.endswith("/gconv") else directory
            by = self._converting()
            if by:
                yield Wanted(directory, Reason("character-sets", by, "calls iconv_open"))
            else:
                why = (
                    "what the C library and libraries for names convert in a locale of C or UTF-8 is built in"
                )
                yield Declined(directory, f"{why}: {_naming(named[0])}")

    def _converting(self) -> str:
        """Return the object that converts between character sets which may be any, "" for none."""
        convert = self._live.get("iconv_open")
        if convert is None:
            return ""
        objects = convert.by or (() if _is_c_library(convert.object) else (convert.object,))
        locales = {self._environment.get(name, "") for name in _LOCALE_VARIABLES} - BUILT_IN_LOCALES
        foreign = any(_plain(locale.partition(".")[2]) != "utf8" for locale in locales)
        free = [
            path for path in objects if foreign or not path.rpartition("/")[2].startswith(LOCALE_CONVERTERS)
        ]
        return free[0] if free else ""

    def terminals(self) -> Iterator[Wanted | Declined]:
        """Yield what describes the terminal that TERM names; terminfo(5)."""
        terminal = self._environment.get("TERM", "")
        for directory in TERMINALS:
            for named in self._named.get(directory, ())[:1]:
                if terminal and "/" not in terminal:
                    reason = Reason("terminals", named.object, f"TERM={terminal} in the plan's environment")
                    yield Wanted(f"{directory}/{terminal[0]}/{terminal}", reason)
                else:
                    yield Declined(directory, "the plan's environment has no TERM")

    def secrets(self) -> Iterator[Declined]:
        """Yield what is named and never taken for that."""
        for path in SECRET:
            if path in self._named:
                yield Declined(path, "it holds secrets: only --include takes it")


def _naming(named: NamedPath) -> str:
    return f"{named.function} names {named.path}" if named.function else f"names {named.path}"


def _plain(codeset: str) -> str:
    """Return a codeset as directories of locales spell it: glibc 2.36, intl/l10nflist.c."""
    return "".join(letter for letter in codeset.lower() if letter.isalnum())


def _is_c_library(path: str) -> bool:
    return path.rpartition("/")[2].startswith(C_LIBRARIES)
