"""The steps of `shim build`: analysis, file set, plan, image; and the questions about what they found."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.derivation import Request
from shim.cli.launching import LaunchOptions, answer_of, given_profile
from shim.cli.waiting import stages_of

if TYPE_CHECKING:
    from images.closure import FileSet, Selection
    from images.image import Image
    from images.packages.package import Inventory
    from images.records import Documented, Said
    from images.tree import Entry
    from images.trim import Trimming
    from shim.cli.build_guest import Guest
    from shim.cli.build_inputs import Origin, Program
    from shim.profile.footprint import Footprint
    from shim.profile.profile import Profile


class Build:
    """One build, step by step; what the steps found is kept for the questions after it."""

    def __init__(  # noqa: PLR0913  # all that a build is made of
        self,
        program: Program,
        origin: Origin,
        selection: Selection,
        request: Request,
        options: LaunchOptions,
        guest: Guest,
        *,
        appendable: bool = False,
        trim: bool = False,
        scannable: bool = False,
    ) -> None:
        self._program = program
        self._origin = origin
        self._selection = selection
        self._options = options
        self._appendable = appendable
        self._request = request
        self.guest = guest
        self.profile, self.footprint = self._analysed(request, trim=trim)
        self.files: FileSet = self._files()
        self._entries: tuple[Entry, ...] = tuple(self.files.entries)
        self.trimming: Trimming | None = self._trimmed() if trim else None
        self.unowned = ""
        self.inventory = self._inventory(scannable=scannable)
        if scannable:
            self._make_scannable()

    def _analysed(self, request: Request, *, trim: bool) -> tuple[Profile, Footprint]:
        from shim.cli.profile_cache import cached_footprint, default_directory

        data, place, source = self._program.data, self._program.place, self._origin.source
        cache = default_directory(os.environ)
        with stages_of(place) as stage:
            return cached_footprint(data, place, cache, request, lambda: source, stage=stage, trim=trim)

    def _files(self) -> FileSet:
        from images.closure import file_set
        from images.source import DirectorySource

        here = DirectorySource("/")
        return file_set(
            self._program.data, self.profile, self.footprint, self._origin.source, here, self._selection
        )

    def _trimmed(self) -> Trimming:
        from images.trim import Trimming

        trimming = Trimming(self._entries, self.footprint, self.profile)
        self._entries = trimming.entries
        return trimming

    def _inventory(self, *, scannable: bool) -> Inventory | None:
        """Return whose the files are; where that cannot be told and nobody asks, `unowned` says why."""
        import shim
        from images.packages.errors import PackageError
        from images.records import owners_of

        try:
            return owners_of(self._entries, self._origin.source, shim.__version__)
        except PackageError as error:
            if scannable:
                raise
            self.unowned = str(error)
            return None

    def _make_scannable(self) -> None:
        """Add what scanners look for to what will be in the image."""
        from images.records import for_scanners

        if self.inventory is not None:
            self._entries = (*self._entries, *for_scanners(self.inventory))

    def image(self, given: str, arguments: tuple[str, ...], created: int, request: tuple[str, ...]) -> Image:
        """Return the image with these arguments of the program, which the user called `given`."""
        import shim
        from images.image import Making, image_of
        from images.manifest import Input
        from images.ownership import Ownership
        from images.records import ownership_of
        from shim.canonical import sha256_hex
        from shim.profile.codec import dumps

        argv = (self._program.place, *arguments)
        launcher = self.guest.launcher(Path(shim.__file__).parent / "launch")
        profile = self.launched_profile()
        inputs = (
            Input("program", profile.program.sha256, self._program.place),
            Input("profile", sha256_hex(dumps(profile)), f"{len(profile.objects)} objects"),
            Input("source", self._origin.digest, "an OCI image" if self._origin.digest else "a directory"),
            Input("launcher", sha256_hex(launcher.data), launcher.name),
            *(() if self.trimming is None else self.trimming.inputs),
        )
        making = Making(
            self._program.place,
            argv,
            given,
            request,
            inputs,
            created,
            shim.__version__,
            profile.arch,
            profile.phases,
            Ownership() if self.inventory is None else ownership_of(self.inventory),
        )
        entries = (*self._entries, *self.guest.directories())
        return image_of(entries, launcher.data, self._plan(profile, argv), making, self.guest.own_entries())

    def documents(self, built: Image, records: Mapping[str, bytes], said: Said) -> Documented:
        """
        Return what is in the image and whose it is, and what records of vulnerabilities mean for it.

        Raises:
            ValueError: the build is not scannable.
        """
        import shim
        from images.records import documented

        path = None
        if records:
            from shim.analysis.execute_path import execute_path

            path = execute_path(
                self._program.data,
                self._program.place,
                files=self._origin.source,
                modules=self._request.objects(self._origin.source),
            )
            path = path if self.trimming is None else self.trimming.execute_path(path)
        if self.inventory is None:
            raise ValueError("documents of a build that is not scannable")
        return documented(built, self.inventory, shim.__version__, records, path, said)

    def launched_profile(self) -> Profile:
        """Return the profile that the plan has: the one of the machine code, or the one that was given."""
        if self._options.profile is None:
            return self.profile
        return given_profile(self._options.profile, self._program.data, self._program.place)

    def _plan(self, profile: Profile, argv: tuple[str, ...]) -> bytes:
        from images.tree import Tree
        from shim.cli.confining import confinement_of
        from shim.elf.image import parse_elf
        from shim.launch.compose import compose
        from shim.launch.layout import layout_of
        from shim.launch.plan_codec import encode

        options, data = self._options, self._program.data
        read: Callable[[str], bytes | None] = self._origin.source.read
        if self.trimming is not None:
            profile, data = self.trimming.profile(profile), self.trimming.data(data)
            read = self.trimming.reading(read)
        plan = compose(
            profile,
            self._program.place,
            argv,
            self._selection.environment,
            on_violation=answer_of(options.on_violation, no_events=options.no_events),
            allow_incomplete=options.allow_incomplete,
            layout=layout_of(profile, parse_elf(data, self._program.place), read),
            pin=not options.no_pin,
            phases=not options.no_phases,
            require=options.require,
            confinement=self.guest.confinement(confinement_of(options.confining, posixpath.normpath)),
            exists=self.guest.exists(Tree.of(self.files.entries).exists),
            appendable=self._appendable,
        )
        return encode(self.guest.planned(plan))

    @property
    def findings(self) -> tuple[str, ...]:
        """What a user should know, one line each."""
        unowned = f"packages are not recorded: {self.unowned}" if self.unowned else ""
        return (*self.files.findings, *self.guest.findings, *filter(None, (unowned,)))

    def answer(self, built: Image, explain: str | None, why_not: str | None) -> int:
        """Print why files are there or not; 1 if what was to be explained is not there."""
        from images import explain as answers

        code = 0
        if explain is not None:
            lines = answers.explain(built.tree, explain)
            code = 0 if lines else 1
            for line in lines or (f"{explain} is not in the image: --why-not {explain}",):
                click.echo(line)
        if why_not is not None:
            for line in answers.why_not(built.tree, self.files, self.footprint, self._origin.source, why_not):
                click.echo(line)
        return code
