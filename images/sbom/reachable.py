"""
Is it proved that vulnerable functions cannot run, and if not, what is missing for it?

Every answer but "proved" says why; nothing is taken for unreachable because it was not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from images.packages.package import Inventory, OwnedFile, Package
from images.sbom.osv import Symbols
from shim.profile.execute_path import ExecutePath, ObjectFunctions

# What gcc and clang append to the name of a part or a copy: .part.0, .constprop.1, .isra.0, .cold
_PART = r"(?:\..+)?"
# What Go appends: type arguments, closures, method values.
_GO_PART = r"(?:\[.*\])?(?:[.-].+)?"
OWN_CODE = "the program runs no code but that in its files"
RECORDED = "Go's line table attributes at least one instruction to each copy of a function"
WHOLE = "the compiler copied none of the functions into another one, neither whole nor in part"


@dataclass(frozen=True, slots=True)
class Unproved:
    """Why it is not known whether the functions can run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Proved:
    """
    That they cannot.

    Attributes:
        files: Where they were looked for.
        assumptions: What it rests on.
    """

    files: tuple[str, ...]
    assumptions: tuple[str, ...]


class Reachability:
    """
    What is known of the code of one image.

    Args:
        inventory: What is in the image.
        code: Its files with machine code.
        path: What the analysis of its program found; None if nobody looked.
        whole_functions: Whether to assume that no function was copied into another.  Only Go's compiler
            writes down where it did, so without this nothing is proved of other files.
    """

    def __init__(
        self,
        inventory: Inventory,
        code: tuple[OwnedFile, ...],
        path: ExecutePath | None,
        *,
        whole_functions: bool,
    ) -> None:
        self._inventory = inventory
        self._path = path
        self._whole_functions = whole_functions
        self._known = {} if path is None else {one.sha256: one for one in path.objects}
        self._obstacle = _obstacle(code, path)

    def unreachable(self, symbols: tuple[Symbols, ...], package: Package) -> Proved | Unproved:
        """
        Return whether no code of the functions can run, in any file of the image with code of the package.

        Args:
            symbols: The vulnerable functions, as a record names them; none if it does not.
            package: Whose they are.
        """
        if not symbols:
            return Unproved("the record does not name the functions")
        if self._path is None or self._obstacle:
            return Unproved(self._obstacle)
        objects = [
            self._known[owned.file.sha256]
            for owned in self._inventory.files
            if (package in owned.owners or package in owned.built_in) and owned.file.sha256 in self._known
        ]
        if not objects:
            return Unproved("no file with its code was analysed")
        for one in objects:
            for problem in _problems(symbols, one, whole_functions=self._whole_functions):
                return Unproved(problem)
        assumed = {RECORDED if one.copied is not None else WHOLE for one in objects}
        assumptions = (*self._path.assumptions, OWN_CODE, *sorted(assumed))
        return Proved(tuple(one.path for one in objects), assumptions)


def _obstacle(code: tuple[OwnedFile, ...], path: ExecutePath | None) -> str:
    """Return why nothing can be proved of any function, "" if something can."""
    if path is None:
        return "the program was not analysed"
    if path.incomplete:
        more = f" and {len(path.incomplete) - 1} more" if len(path.incomplete) > 1 else ""
        return f"the analysis is incomplete: {path.incomplete[0]}{more}"
    known = {one.sha256 for one in path.objects}
    unknown = [owned.file.path for owned in code if owned.file.sha256 not in known]
    return f"{unknown[0]} may run too, and was not analysed" if unknown else ""


def _problems(symbols: Iterable[Symbols], one: ObjectFunctions, *, whole_functions: bool) -> Iterator[str]:
    """Yield what stands against a proof for one file."""
    go = one.copied is not None
    if not go and not whole_functions:
        yield f"{one.path}: no table says which functions were copied into others"
    if one.nameless:
        yield f"{one.path}: its symbols may not name every function"
    for group in symbols:
        for name in group.names:
            pattern = _pattern(group.package, name, go=go)
            if any(map(pattern.fullmatch, one.live)):
                yield f"{one.path}: {name} can run"
            elif any(map(pattern.fullmatch, one.copied or ())):
                yield f"{one.path}: {name} may have been copied into a function that can run"
            elif not go and not any(map(pattern.fullmatch, one.names)):
                # Without a function of its own it may be a macro, renamed, or copied wherever it is used.
                yield f"{one.path}: no function is called {name}"


def _pattern(package: str, name: str, *, go: bool) -> re.Pattern[str]:
    """Return what matches the functions that one name means, with their parts."""
    if not go:
        return re.compile(re.escape(name) + _PART)
    # Dots in the last element of an import path may be escaped; the program's own package is called main.
    parent, slash, last = package.rpartition("/")
    path = re.escape(parent + slash) + r"(?:\.|%2e)".join(map(re.escape, last.split(".")))
    place = rf"(?:(?:(?:.*/)?vendor/)?{path}|main)"
    kind, dot, method = name.rpartition(".")
    if dot:
        receiver = rf"(?:{re.escape(kind)}(?:\[.*\])?|\(\*{re.escape(kind)}(?:\[.*\])?\))"
        return re.compile(rf"{place}\.{receiver}\.{re.escape(method)}{_GO_PART}", re.DOTALL)
    return re.compile(rf"{place}\.{re.escape(name)}{_GO_PART}", re.DOTALL)
