"""
Where do the kernel, the loader and the startup code enter a process?

Its entries, and the tables of functions that the loader and the C library walk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shim.analysis.functions import Functions
from shim.analysis.reach import Reach
from shim.elf.image import ElfImage
from shim.elf.memory import Memory
from shim.elf.process import Process

# What the startup code of a static program walks or copies without a reference that could be followed.
_ARRAY_SECTIONS = (".preinit_array", ".init_array", ".fini_array", ".tdata", ".ctors", ".dtors")
_CODE_SECTIONS = (".init", ".fini")
GO_ROOT = "Go line table"


def add_roots(reach: Reach, process: Process, functions: Functions) -> None:
    """Declare everything that runs without anybody in the process asking for it."""
    reach.root(process.images[0].entry, "entry point")
    if process.interpreter is not None:
        reach.root(process.interpreter.entry, "loader")
    for address in process.called:
        if process.memory.executable(address):
            reach.root(address, "called by the loader")
    for image in process.started:
        add_image(reach, process.memory, image)
    for resolver in resolvers_of(process.memory, process.started):
        reach.root(resolver, "IRELATIVE resolver")
    for function in functions.go:
        reach.root(function.start, GO_ROOT)


def resolvers_of(memory: Memory, images: Iterable[ElfImage]) -> Iterator[int]:
    """Yield what the loader calls to bind the indirect functions that these images use."""
    paths = {image.path for image in images}
    for slot, resolver in memory.relocations.resolvers.items():
        holder = memory.image(slot)
        if holder is not None and holder.path in paths:
            yield resolver


def add_image(reach: Reach, memory: Memory, image: ElfImage) -> None:
    """
    Declare what the loader runs of one image: its initialisers and finalisers, and its thread-local data.
    """
    for section in image.sections:
        if section.name in _ARRAY_SECTIONS:
            reach.root_data(range(section.address, section.address + section.size), section.name)
        elif section.name in _CODE_SECTIONS and memory.executable(section.address):
            reach.root(section.address, section.name)
    tags = dict(image.dynamic)
    for array in ("DT_PREINIT_ARRAY", "DT_INIT_ARRAY", "DT_FINI_ARRAY"):
        if array in tags:
            start = tags[array]
            reach.root_data(range(start, start + tags.get(array + "SZ", 0)), array)
    for tag in ("DT_INIT", "DT_FINI"):
        if memory.executable(tags.get(tag, 0)):
            reach.root(tags[tag], tag)
