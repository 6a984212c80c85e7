"""
What is mapped when a program starts, as one address space?

The recipe of this package: a static program alone, or a dynamic one with everything that the loader brings.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.elf.closure import MissingObjectsError, closure
from shim.elf.exports import exported, loader_references
from shim.elf.files import FileSource
from shim.elf.image import ElfImage
from shim.elf.link import link
from shim.elf.loaded import Closure
from shim.elf.memory import Memory
from shim.elf.openable import Openable, openable
from shim.elf.relocations import Relocations, relocations
from shim.errors import UnsupportedElfError


@dataclass(frozen=True, slots=True)
class Module:
    """
    A shared object that is mapped only if the program opens it.

    Attributes:
        image: The object.
        opened_by: Strings one of which code has to name before it can open the object; empty if declared by a
        user.
        brings: Images that are mapped together with it and not otherwise.
        exports: Address of each function and object that it exports, by name.
    """

    image: ElfImage
    opened_by: frozenset[str]
    brings: tuple[ElfImage, ...]
    exports: dict[str, int]


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
    """

    images: tuple[ElfImage, ...]
    memory: Memory
    interpreter: ElfImage | None
    started: tuple[ElfImage, ...]
    called: tuple[int, ...] = ()
    modules: tuple[Module, ...] = ()
    exports: tuple[dict[str, int], ...] = ()
    findings: tuple[str, ...] = ()


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
    if files is None:
        found = image.interpreter or "needed libraries"
        raise UnsupportedElfError(
            f"{image.path}: PT_INTERP", found, "a static program, or its libraries beside it"
        )
    return dynamic_process(image, files, modules)


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
    started = closure(image, files)
    candidates = openable(started, files)
    everything = _with_modules(image, files, declared, {candidate.name for candidate in candidates})
    linkage = link(everything)
    images = tuple(loaded.image for loaded in everything.objects)
    count = len(started.objects)
    relocated = Relocations(linkage.pointers, linkage.resolvers, linkage.bound)
    return Process(
        images,
        Memory(images, relocated),
        None if everything.interpreter is None else images[everything.interpreter],
        images[:count],
        called=tuple(binding.address for binding in loader_references(everything)),
        modules=_modules(everything, count, candidates, declared),
        exports=tuple(exported(loaded) for loaded in everything.objects[:count]),
        findings=everything.findings,
    )


def _with_modules(image: ElfImage, files: FileSource, declared: tuple[str, ...], names: set[str]) -> Closure:
    """Return the closure with all declared modules and those of `names` that can be loaded."""
    while True:
        try:
            return closure(image, files, extra=(*declared, *sorted(names - set(declared))))
        except MissingObjectsError as error:
            absent = {missing.name for missing in error.missing} | {
                missing.needed_by for missing in error.missing
            }
            if not names & absent:
                raise
            names -= absent


def _modules(
    everything: Closure, count: int, candidates: tuple[Openable, ...], declared: tuple[str, ...]
) -> tuple[Module, ...]:
    """Return the modules among the objects behind the first `count`, with what each brings along."""
    strings: dict[str, set[str]] = {}
    for candidate in candidates:
        strings.setdefault(candidate.name, set()).add(candidate.string)
    found = []
    for loaded in everything.objects[count:]:
        scope = everything.local_scopes[loaded.index]
        opened_by = {string for name in loaded.names for string in strings.get(name, ())}
        if loaded.names & set(declared):
            opened_by = set()
        elif not opened_by:
            continue
        brings = tuple(
            everything.objects[index].image for index in scope if index >= count and index != loaded.index
        )
        found.append(Module(loaded.image, frozenset(opened_by), brings, exported(loaded)))
    return tuple(found)
