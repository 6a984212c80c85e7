"""
What is mapped when a program starts, as one address space?

The recipe of this package: a static program alone, or a dynamic one with everything that the loader brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shim.elf.closure import MissingObjectsError, closure
from shim.elf.exports import exported, loader_references
from shim.elf.files import FileSource
from shim.elf.image import ElfImage, parse_elf
from shim.elf.link import link
from shim.elf.loaded import Closure
from shim.elf.loading import Parsed
from shim.elf.memory import Memory
from shim.elf.openable import Openable, Openables
from shim.elf.relocations import Relocations, relocations
from shim.errors import BinaryError, UnsupportedElfError


@dataclass(frozen=True, slots=True)
class Module:
    """
    A shared object that is mapped only if the program opens it.

    Attributes:
        image: The object.
        opened_by: Strings one of which code has to name before it can open the object.
        listed_by: The same for strings that name a directory above it.
        declared: Whether a user said that the program opens it.
        brings: Images that are mapped together with it and not otherwise.
        exports: Address of each function and object that it exports, by name.
    """

    image: ElfImage
    opened_by: frozenset[str]
    listed_by: frozenset[str]
    declared: bool
    brings: tuple[ElfImage, ...]
    exports: dict[str, int]


@dataclass(frozen=True, slots=True)
class Need:
    """Why an image is mapped: `by` names it as `name`; that is "" for what is preloaded."""

    image: ElfImage
    by: ElfImage
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    """
    The images of a process and its memory before the first instruction.

    Attributes:
        images: The program first, then what the loader maps, then modules.
        memory: All of them, relocated.
        interpreter: The loader; None for a static program.
        started: Images whose initialisers run before the program's entry.
        called: Functions that the loader looks up by name and calls.
        modules: What the program can open.
        exports: The functions and objects, by name, that each image but the modules exports.
        findings: What a user should know about the choice of files, one line each.
        needs: Who first needs each image beside the program; none for what only dlopen maps.
    """

    images: tuple[ElfImage, ...]
    memory: Memory
    interpreter: ElfImage | None
    started: tuple[ElfImage, ...]
    called: tuple[int, ...] = ()
    modules: tuple[Module, ...] = ()
    exports: tuple[dict[str, int], ...] = ()
    findings: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()


def is_dynamic(image: ElfImage) -> bool:
    """
    Whether the kernel starts a loader for the program, or a loader would have to.

    A static-PIE has PT_DYNAMIC too; what makes a program dynamic is an interpreter or a library it needs.
    """
    return image.interpreter is not None or any(tag == "DT_NEEDED" for tag, _ in image.dynamic)


def load_process(image: ElfImage, files: FileSource | None, modules: tuple[str, ...] = ()) -> Process:
    """
    Return the process that a program becomes.

    Args:
        image: The program.
        files: Where the loader finds libraries; None if there are none.
        modules: Shared objects that the program may open while it runs: paths, or names that the loader
        finds.

    Raises:
        BinaryError: a dynamic program without `files`, a library that is missing or damaged, a symbol that
        nobody
            defines.
    """
    if not is_dynamic(image):
        return static_process(image)
    if image.machine != "x86_64":
        raise UnsupportedElfError(
            f"{image.path}: PT_INTERP", f"a dynamic program for {image.machine}", "a static one"
        )
    if files is None:
        found = image.interpreter or "needed libraries"
        raise UnsupportedElfError(
            f"{image.path}: PT_INTERP", found, "a static program, or its libraries beside it"
        )
    return fixed_process(image, files) or dynamic_process(image, files, modules)


def fixed_process(image: ElfImage, files: FileSource) -> Process | None:
    """
    Return the process of a program whose interpreter is a library at a fixed address, as of klibc's programs.

    Nothing is relocated: both files were linked for the addresses that the kernel maps them at.  None where
    the interpreter is a loader.
    """
    if image.dynamic or image.interpreter is None:
        return None
    data = files.read(image.interpreter)
    library = None if data is None else parse_elf(data, image.interpreter)
    if library is None or library.kind != "ET_EXEC":
        return None
    images = (image, library)
    needs = (Need(library, image, image.interpreter),)
    return Process(images, Memory(images, Relocations({}, {})), library, images, needs=needs)


def static_process(image: ElfImage) -> Process:
    """
    Return the process of a static program.

    Raises:
        MalformedElfError: a relocation table that is not in the file.
    """
    memory = Memory((image,), relocations(image))
    return Process((image,), memory, None, (image,))


def dynamic_process(image: ElfImage, files: FileSource, declared: tuple[str, ...]) -> Process:
    """
    Return the process of a dynamic program, with the modules that it might open.

    Raises:
        BinaryError: as `load_process`.
    """
    parsed: Parsed = {}
    count = len(closure(image, files, parsed=parsed).objects)
    candidates, everything = _Opening(image, files, declared, parsed).opened(count)
    linkage = link(everything)
    images = tuple(loaded.image for loaded in everything.objects)
    relocated = Relocations(linkage.pointers, linkage.resolvers, linkage.bound, linkage.copies)
    return Process(
        images,
        Memory(images, relocated),
        None if everything.interpreter is None else images[everything.interpreter],
        images[:count],
        called=tuple(binding.address for binding in loader_references(everything)),
        modules=_modules(everything, count, candidates, declared),
        exports=tuple(exported(loaded) for loaded in everything.objects[:count]),
        findings=everything.findings,
        needs=tuple(_needs(everything)),
    )


def _needs(everything: Closure) -> Iterator[Need]:
    """Yield for each object but the program who first needs it, in the loader's order."""
    objects = everything.objects
    seen = {0}
    for loaded in objects:
        for index, name in zip(loaded.needed, loaded.dynamic.needed, strict=False):
            if index not in seen:
                seen.add(index)
                yield Need(objects[index].image, loaded.image, name)
    started = everything.global_scope
    if everything.interpreter is not None:
        started = (everything.interpreter, *started)
    for number in started:
        if number not in seen:
            seen.add(number)
            named = objects[0].image.interpreter if number == everything.interpreter else None
            yield Need(objects[number].image, objects[0].image, named or "")


class _Opening:
    """The search for what a program opens, which loads the same objects again and again."""

    def __init__(self, image: ElfImage, files: FileSource, declared: tuple[str, ...], parsed: Parsed) -> None:
        self._image = image
        self._files = files
        self._declared = declared
        self._parsed = parsed

    def opened(self, started: int) -> tuple[tuple[Openable, ...], Closure]:
        """
        Return what might be opened, by modules too, and the closure with all of it that can be loaded.

        The first `started` objects are there anyhow.
        """
        everything = self._with_modules(set())
        openables = Openables(self._files, started)
        tried: set[str] = set()
        useful: set[str] = set()
        while True:
            candidates = openables.of(everything)
            new = {candidate.name for candidate in candidates} - tried
            if not new:
                return candidates, everything
            tried |= new
            useful |= new
            everything = self._with_modules(useful)

    def _with_modules(self, names: set[str]) -> Closure:
        """Return the closure with all declared modules and those of `names` that can be loaded."""
        while True:
            try:
                return self._closure((*self._declared, *sorted(names - set(self._declared))))
            except BinaryError as error:
                useless = self._unloadable(names, error)
                if not useless:
                    raise
                names -= useless

    def _closure(self, extra: tuple[str, ...]) -> Closure:
        return closure(self._image, self._files, extra=extra, parsed=self._parsed)

    def _unloadable(self, names: set[str], error: BinaryError) -> set[str]:
        """Return those of `names` that dlopen would refuse, where together they failed with `error`."""
        if isinstance(error, MissingObjectsError):
            absent = {missing.name for missing in error.missing} | {
                missing.needed_by for missing in error.missing
            }
            if names & absent:
                return names & absent
        return {name for name in names if not self._loads(name)}

    def _loads(self, name: str) -> bool:
        """Whether dlopen would load `name`: it may be a linker script, or something half installed."""
        try:
            self._closure((name,))
        except BinaryError:
            return False
        return True


def _modules(
    everything: Closure, count: int, candidates: tuple[Openable, ...], declared: tuple[str, ...]
) -> tuple[Module, ...]:
    """Return the modules among the objects behind the first `count`, with what each brings along."""
    strings: dict[tuple[str, bool], set[str]] = {}
    for candidate in candidates:
        strings.setdefault((candidate.name, candidate.computed), set()).add(candidate.string)
    found = []
    for loaded in everything.objects[count:]:
        scope = everything.local_scopes[loaded.index]
        opened_by = {string for name in loaded.names for string in strings.get((name, False), ())}
        listed_by = {string for name in loaded.names for string in strings.get((name, True), ())}
        user = bool(loaded.names & set(declared))
        if not (user or opened_by or listed_by):
            continue
        brings = tuple(
            everything.objects[index].image for index in scope if index >= count and index != loaded.index
        )
        found.append(
            Module(loaded.image, frozenset(opened_by), frozenset(listed_by), user, brings, exported(loaded))
        )
    return tuple(found)
