"""
From a file set to an image: the launcher, the plan and the manifest join it.

The entry point of an image is the launcher with the plan, so that the program is confined under every
runtime; where a runtime does not let the launcher do its work, the program does not run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from images.allowed import bare
from images.content import Content
from images.errors import ImageSpecError
from images.manifest import Input, Manifest, dumps, items_of
from images.ownership import Ownership
from images.tree import Entry, Reason, Tree
from shim.profile.profile import Phase

FOLDER = "/shim"
LAUNCHER, PLAN, MANIFEST = f"{FOLDER}/launch", f"{FOLDER}/plan", f"{FOLDER}/manifest.json"
ENTRY_POINT = (LAUNCHER, PLAN)
# 1980-01-01 UTC, the earliest that zip archives hold too.
DEFAULT_TIME = 315_532_800
MAX_TIME = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Image:
    """
    An image, complete, before it has a format.

    Attributes:
        tree: All that is in it.
        manifest: What and why; its bytes are in the tree.
        entry_point: What is executed.
        arch: As profiles call it.
    """

    tree: Tree
    manifest: Manifest
    entry_point: tuple[str, ...]
    arch: str

    @property
    def created(self) -> int:
        """Seconds since 1970: the only time in an image."""
        return self.manifest.created


@dataclass(frozen=True, slots=True)
class Making:
    """
    What an image says of how it was made.

    Attributes:
        program: Path of the program in the image.
        arguments: Its argument vector.
        given: The program as the user named it.
        request: The options of `shim build`, without those that say where and in which format it is written.
        inputs: What went in.
        created: Seconds since 1970.
        tool_version: Of the shim.
        arch: As profiles call it.
        phases: What the program may call.
        ownership: Whose the files are.
    """

    program: str
    arguments: tuple[str, ...]
    given: str
    request: tuple[str, ...]
    inputs: tuple[Input, ...]
    created: int
    tool_version: str
    arch: str
    phases: tuple[Phase, ...] = ()
    ownership: Ownership = field(default_factory=Ownership)


def image_of(
    entries: Iterable[Entry], launcher: bytes, plan: bytes, making: Making, more: Iterable[Entry] = ()
) -> Image:
    """
    Return the image of `entries` with the launcher, the plan and the manifest.

    Args:
        entries: All else.
        launcher: The bytes of `shim-launch`, or of `shim-init`.
        plan: A launch plan.
        making: What the image says of itself.
        more: What the launcher needs in its own folder.

    Raises:
        ConflictsError: as `Tree.of`.
        ImageSpecError: a file in the launcher's folder, or where /proc hides it.
    """
    given = tuple(entries)
    for entry in given:
        if entry.name == FOLDER or entry.name.startswith(FOLDER + "/"):
            raise ImageSpecError(
                entry.name, "a file of the image", f"nothing in {FOLDER}, the launcher's own"
            )
        if entry.name.startswith("/proc/"):
            want = "nothing in /proc, which is mounted over it wherever the image runs"
            raise ImageSpecError(entry.name, "a file of the image", want)
    program = making.program
    own = (
        Entry.file(
            LAUNCHER.encode(),
            Content.of(launcher),
            Reason("shim", "", "the launcher, which is the entry point"),
            mode=0o755,
        ),
        Entry.file(
            PLAN.encode(),
            Content.of(plan),
            Reason("shim", LAUNCHER, f"the launch plan of {program}, with its filter"),
        ),
    )
    # A runtime mounts it, which a root directory that nobody can write to has to have room for.
    measured = Reason("shim", LAUNCHER, "the launcher measures what runs by what is mounted there")
    tree = Tree.of((*given, *own, *more, Entry.directory(b"/proc", measured)))
    manifest = Manifest(
        program,
        making.arguments,
        making.given,
        making.request,
        making.inputs,
        making.arch,
        bare(making.phases),
        Content.of(plan).sha256,
        making.created,
        making.tool_version,
        items_of(tree, making.ownership),
    )
    text = Entry.file(
        MANIFEST.encode(), Content.of(dumps(manifest)), Reason("shim", "", "this list and its reasons")
    )
    return Image(Tree.of((*tree.entries, text)), manifest, ENTRY_POINT, making.arch)
