"""
How a profile is asked for: the options that `profile`, `plan`, `run` and others share, and what they come to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from shim.progress import in_silence

if TYPE_CHECKING:
    from shim.analysis.derive import Derivation
    from shim.elf.files import FileSource

ASSUMPTION_NAMES = (
    "separate-variables",
    "opaque-mutexes",
    "not-secure",
    "no-modules",
    "declared-modules",
    "no-tunables",
    "started-by-kernel",
    "header-rights",
    "no-abort",
    "no-engines",
    "no-idn",
    "no-userdb",
    "c-locale",
    "main-returns",
    "vdso-clocks",
)


@dataclass(frozen=True, slots=True)
class Request:
    """
    What a profile shall be derived from besides the program.

    Attributes:
        root: The directory that will be `/` when the program runs.
        modules: Shared objects, and directories of such, that the program may open.
        assume: Names of further assumptions to make.
        plain: Make no assumption at all.
    """

    root: str = "/"
    modules: tuple[str, ...] = ()
    assume: tuple[str, ...] = ()
    plain: bool = False

    @property
    def key(self) -> str:
        """Return what tells this request from others, in a line."""
        return repr((os.path.realpath(self.root), self.declared, sorted(self.assume), self.plain))

    @property
    def declared(self) -> tuple[str, ...]:
        """The modules by absolute paths, or by names that the loader searches for."""
        running = os.path.realpath(self.root) == "/"
        return tuple(
            absolute_path(module) if running and "/" in module else module for module in self.modules
        )

    def derive(
        self, data: bytes, path: str, files: FileSource, stage: Callable[[str], None] = in_silence
    ) -> Derivation:
        """
        Return the profile of the program `data` at `path` on this machine, with what it was made from.

        Raises:
            BinaryError: as `shim.analysis.derive.derive`.
        """
        from shim.analysis.assumptions import ASSUMPTIONS, DEFAULT
        from shim.analysis.derive import derivation

        named = {assumption for assumption in ASSUMPTIONS if assumption.name in self.assume}
        assumed = named if self.plain else DEFAULT | named
        modules = self.objects(files)
        return derivation(data, self.inside(path), files=files, modules=modules, assume=assumed, stage=stage)

    def inside(self, path: str) -> str:
        """Return the path of the program as it is below the root; as given where it is not there."""
        absolute, root = absolute_path(path), absolute_path(self.root)
        if root != "/" and absolute.startswith(root + "/"):
            return absolute[len(root) :]
        return absolute

    def objects(self, files: FileSource) -> tuple[str, ...]:
        """
        Return the declared modules, directories replaced by the shared objects below them.

        Raises:
            BinaryError: as `shim.elf.declared.declared_objects`.
        """
        from shim.elf.declared import declared_objects

        return tuple(
            path
            for module in self.declared
            for path in (declared_objects(module, files) if module.startswith("/") else (module,))
        )


def absolute_path(path: str) -> str:
    """Return `path` from the root on, dots removed, links kept: the loader looks for $ORIGIN by this name."""
    return os.path.normpath(os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118  # pathlib would follow links


def derivation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that become a `Request`, under the parameter names of `request`."""
    for option in reversed(
        (
            click.option(
                "--root",
                default="/",
                help="Directory that will be / when it runs: libraries are found there.",
            ),
            click.option(
                "--modules",
                multiple=True,
                metavar="PATH",
                help="Shared object, or directory of such, that the program may open; repeatable.",
            ),
            click.option(
                "--assume",
                multiple=True,
                type=click.Choice(ASSUMPTION_NAMES),
                help="Make this assumption too; repeatable.",
            ),
            click.option("--no-assumptions", is_flag=True, help="Make no assumption that is not spelled."),
        )
    ):
        command = option(command)
    return command


def request(root: str, modules: tuple[str, ...], assume: tuple[str, ...], no_assumptions: bool) -> Request:  # noqa: FBT001  # as click names it
    """Return the request that the options say."""
    return Request(root, modules, assume, no_assumptions)
